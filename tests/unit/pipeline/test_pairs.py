"""The search over versions of several parts, with Pythons that are made up."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
from packaging.version import Version

from oom_suite.errors import FetchError, UsageError
from oom_suite.pipeline import pairs
from oom_suite.pipeline.commits.kept import Kept, judged_to_json
from oom_suite.pipeline.pairs import CombinationJudge, read_combination, search_pairs
from oom_suite.pipeline.settings import silent
from oom_suite.records import Verdict
from oom_suite.records.commits import Finding, Judged
from oom_suite.subjects.families import registry

RELEASES = {
    "made": tuple(Version(str(n)) for n in range(1, 9)),
    "torch": tuple(Version(f"2.{n}.0") for n in range(8, 16)),
    "triton": tuple(Version(f"3.{n}") for n in range(1, 6)),
}
GOOD = "made==1,torch==2.8.0,triton==3.1"
BAD = "made==8,torch==2.15.0,triton==3.5"
PYTHON = """\
#!/bin/sh
for last; do :; done
echo "$4" >> {folder}/asked
exec {python} -I -S {folder}/answer.py "$4" "${{last#--json=}}" '{versions}'
"""
ANSWER = """\
import json, sys

subject, file, versions = sys.argv[1:]
versions = json.loads(versions)
named = dict(part.split("==") for part in [subject, *map("==".join, versions.items())])
made, torch, triton = (
    tuple(map(int, named.get(part, "0").split("."))) for part in ("made", "torch", "triton")
)
if {broken}:
    sys.exit("ImportError: of another time")
answer = "FAIL" if {bad} else "PASS"
body = json.loads({text!r}.replace("ANSWER", answer))
body["environment"] = {{"python": "3.11.7", "torch": versions.get("torch"), "triton": None}}
with open(file, "w") as sink:
    json.dump(body, sink)
"""


class MadeUp:
    """Pythons that say what a formula of the versions gives, and count what was asked."""

    def __init__(self, folder, bad, broken="False", refused=()):
        finding = Finding("it", "decode", Verdict.PASS, "as it is", "8*pool", 32)
        text = json.dumps({"probe": judged_to_json(Judged((finding,)))}).replace("PASS", "ANSWER")
        self.folder, self.refused = folder, refused
        (folder / "answer.py").write_text(ANSWER.format(bad=bad, broken=broken, text=text))

    def python(self, versions, on_progress):
        if (refused := " ".join(map("==".join, versions.items()))) in self.refused:
            raise FetchError(f"{refused} cannot be installed: no such build")
        name = "python" + "".join(versions.values())
        given = json.dumps(dict(versions))
        script = PYTHON.format(python=sys.executable, folder=self.folder, versions=given)
        (self.folder / name).write_text(script)
        (self.folder / name).chmod(0o700)
        return self.folder / name

    def path(self):
        return str(self.folder)

    @property
    def num_asked(self):
        file = self.folder / "asked"
        return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture(autouse=True)
def _made_up_releases(monkeypatch):
    family = SimpleNamespace(releases=lambda: RELEASES["made"])
    monkeypatch.setattr(pairs.doors, "families", lambda: {"made": family})
    monkeypatch.setattr(registry, "index_versions", lambda project: RELEASES[project.name])
    monkeypatch.setattr(pairs, "content_of_subject", lambda subject: subject)


def found_in(environments, good=GOOD, bad=BAD, kept=None, subject=""):
    judge = CombinationJudge(
        subject, ("--axis=pool",), environments, kept or Kept(None), silent, lambda _: None
    )
    ends = read_combination(good, "--good"), read_combination(bad, "--bad")
    return search_pairs(*ends, judge)


@pytest.mark.parametrize(
    ("bad", "before", "after"),
    [
        (
            "torch >= (2, 13)",
            "made==8 torch==2.12.0 triton==3.1",
            "made==8 torch==2.13.0 triton==3.1",
        ),
        (
            "made >= (5,)",
            "made==4 torch==2.8.0 triton==3.1",
            "made==5 torch==2.8.0 triton==3.1",
        ),
        (
            "triton >= (3, 5)",
            "made==8 torch==2.15.0 triton==3.4",
            "made==8 torch==2.15.0 triton==3.5",
        ),
        (
            "made >= (3,) and torch >= (2, 10)",
            "made==8 torch==2.9.0 triton==3.1",
            "made==8 torch==2.10.0 triton==3.1",
        ),
    ],
    ids=["torch", "release", "triton", "both"],
)
def test_part_and_its_version_are_found_with_the_others_held(tmp_path, bad, before, after):
    """Where it takes two parts, the one that is changed last, with the other as at the bad end."""
    environments = MadeUp(tmp_path, bad)
    found = found_in(environments)
    assert (before, after) == (found.before.commit, found.first.commit)
    assert "combination" == found.noun
    assert environments.num_asked == len(found.steps) <= 2 + 2 + 3


def test_exact_versions_of_each_python_are_told(tmp_path):
    found = found_in(MadeUp(tmp_path, "made >= (5,)"))
    assert found.judged_as[0].endswith("; with Python 3.11.7, torch 2.8.0")


def test_subject_of_one_s_own_is_judged_with_each_torch(tmp_path):
    """It has no releases: the versions are torch's alone."""
    bad = "torch >= (2, 10)"
    environments = MadeUp(tmp_path, bad)
    found = found_in(environments, "torch==2.8.0", "torch==2.15.0", subject="d.py==1")
    assert ("torch==2.9.0", "torch==2.10.0") == (found.before.commit, found.first.commit)


def test_older_version_may_be_the_bad_one(tmp_path):
    """The first bad one on the way from the good end is found, whichever is newer."""
    environments = MadeUp(tmp_path, "made <= (3,)")
    found = found_in(environments, "made==8,torch==2.8.0", "made==1,torch==2.8.0")
    assert ("made==4 torch==2.8.0", "made==3 torch==2.8.0") == (
        *(found.before.commit, found.first.commit),
    )


def test_versions_that_cannot_be_installed_or_judged_are_passed_over_and_named(tmp_path):
    environments = MadeUp(
        tmp_path,
        "torch >= (2, 12)",
        broken="torch == (2, 11, 0)",
        refused=("torch==2.10.0 triton==3.1",),
    )
    found = found_in(environments)
    assert ("2.9.0", "2.12.0") == tuple(
        step.commit.split("torch==")[1].split()[0] for step in (found.before, found.first)
    )
    assert [
        "torch==2.10.0 triton==3.1 cannot be installed: no such build",
        "made==8: no verdict: ImportError: of another time",
    ] == [step.judged.reason for step in found.unjudged]


def test_interrupted_search_goes_on_where_it_ended(tmp_path):
    """Neither is judged again, nor is an environment made again."""
    environments = MadeUp(tmp_path, "made >= (5,)")
    first = found_in(environments, kept=Kept(tmp_path / "judged"))
    asked = environments.num_asked
    again = found_in(environments, kept=Kept(tmp_path / "judged"))
    assert asked == environments.num_asked
    assert (first.first.commit, True) == (again.first.commit, again.first.is_kept)


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("torch==2.8.0", "triton==3.1", "--good is of torch and --bad of triton: name the same"),
        ("made==1", "made==1", "--good and --bad are the same, made==1: give two different ones"),
        ("made==8", "made==1", "the good end, made==8, is FAIL and not PASS: as it is"),
        ("torch=2", "made==1", "--good 'torch=2': 'torch=2' is not NAME==VERSION; write torch=="),
        ("torch==x", "made==1", "--good 'torch==x': 'torch==x' is not NAME==VERSION"),
        ("made==1,made==2", "made==1", "--good 'made==1,made==2' names made twice: leave one"),
    ],
)
def test_ends_that_cannot_be_used_are_refused(tmp_path, good, bad, said):
    with pytest.raises(UsageError) as caught:
        found_in(MadeUp(tmp_path, "made >= (5,)"), good, bad)
    assert str(caught.value).startswith(said)
