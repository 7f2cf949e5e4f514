"""The search over releases, of a package that is made up: no code is loaded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.version import Version

from fixtures.commits import git, repository_of
from fixtures.made_predicates import ByWord, states
from oom_suite.errors import UsageError
from oom_suite.pipeline import releases
from oom_suite.pipeline.commits import kept as kept_answers
from oom_suite.pipeline.commits.kept import Kept
from oom_suite.pipeline.commits.repository import Repository
from oom_suite.pipeline.releases import ends_in, search_releases
from oom_suite.pipeline.settings import silent
from oom_suite.records import SubjectSpec
from oom_suite.subjects.family import SubjectFamily


class MadeUp(SubjectFamily):
    """``made==N``: a folder that says whether it is good."""

    name = "made"

    def __init__(self, folder, words):
        self.folders = {}
        for number, word in enumerate(words, 1):
            self.folders[f"{number}"] = folder / str(number)
            self.folders[f"{number}"].mkdir(parents=True)
            (folder / str(number) / "state.txt").write_text(f"{word} {number}\n")

    def parse(self, text):
        found = re.fullmatch(r"made==(\d+)", text)
        return SubjectSpec(text, self.name, version=found[1] if found else None)

    def releases(self):
        return tuple(map(Version, self.folders))


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """`searched("good bad", ...)`: the search of releases in these states, and what it judged."""

    def run(words, good=None, bad=None, kept=None, on_step=lambda _: None, **more):
        words = words.split()
        folder = tmp_path / "made"
        family = family_of_words.setdefault(tuple(words), None) or MadeUp(
            folder / str(len(family_of_words)), words
        )
        family_of_words[tuple(words)] = family
        monkeypatch.setattr(releases, "family_of", lambda _: family)
        for module in (releases, kept_answers):
            monkeypatch.setattr(module, "parse", family.parse)
            monkeypatch.setattr(module, "obtain", lambda spec: family.folders[spec.version])
        asked = []

        class OfRelease(ByWord):
            def __init__(self, name):
                super().__init__(str(family.folders[name.partition("==")[2]] / "state.txt"))
                self.key = ("by word",)
                self.name = name

            def judge(self, *arguments, **options):
                asked.append(self.name.partition("==")[2])
                return super().judge(*arguments, **options)

        ends = [f"made=={each}" if each else None for each in (good, bad or len(words))]
        found = search_releases(*ends, OfRelease, kept or Kept(None), silent, on_step, **more)
        return found, asked

    family_of_words = {}
    return run


def test_first_bad_release_is_found_and_ends_are_judged_first(searched):
    found, asked = searched("good good good bad bad bad bad bad", good=1)
    assert ("made==4", "made==3", False) == (
        *(found.first.commit, found.before.commit, found.is_repair),
    )
    assert ["1", "8"] == asked[:2]
    assert len(asked) <= 2 + 3


def test_repair_is_found_where_the_newest_is_good(searched):
    """Without a good end it is the newest release."""
    found, _ = searched("bad bad good good", bad=1)
    assert ("made==3", "made==2", True) == (
        *(found.first.commit, found.before.commit, found.is_repair),
    )


def test_release_that_cannot_be_judged_is_named_where_it_matters(searched):
    found, _ = searched("good broken bad", good=1)
    assert ["made==2"] == [step.commit for step in found.unjudged]


def test_walk_judges_every_release_and_names_every_change(searched):
    """A bug that came, went and came back; the newest change is told in full."""
    found, asked = searched("good bad good good bad", good=1, walks=True)
    assert ["1", "5", "2", "3", "4"] == asked
    changes = [("made==1", "made==2"), ("made==2", "made==3"), ("made==4", "made==5")]
    assert tuple(changes) == found.turns
    assert ("made==5", "made==4") == (found.first.commit, found.before.commit)


def test_interrupted_search_goes_on_where_it_ended(searched, tmp_path):
    """What was judged before is not judged again, but for the one that the report is about."""
    kept = Kept(tmp_path / "judged")
    words = " ".join(["good"] * 20 + ["bad"] * 12)
    seen = []

    def interrupted(step):
        seen.append(step.commit)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        searched(words, good=1, kept=kept, on_step=interrupted)
    found, asked = searched(words, good=1, kept=kept)
    assert not {f"made=={each}" for each in asked} & set(seen)
    assert seen == [step.commit for step in found.steps if step.is_kept]
    assert "made==21" == found.first.commit
    again, asked = searched(words, good=1, kept=kept)
    assert ["21"] == asked
    assert (found.first.commit, found.before.commit) == (again.first.commit, again.before.commit)


def test_release_whose_files_changed_is_judged_again(searched, tmp_path):
    """An answer belongs to the content that it was found of, and not to a name."""
    kept = Kept(tmp_path / "judged")
    searched("good bad", good=1, kept=kept)
    _, asked = searched("good bad", good=1, kept=kept)
    assert ["2"] == asked
    (folder,) = (path.parent for path in tmp_path.glob("made/*/1/state.txt"))
    (folder / "more.py").write_text("x = 1\n")
    _, asked = searched("good bad", good=1, kept=kept)
    assert ["1", "2"] == asked


def test_what_is_kept_can_be_left_unread(searched, tmp_path):
    searched("good bad", good=1, kept=Kept(tmp_path / "judged"))
    _, asked = searched("good bad", good=1, kept=Kept(tmp_path / "judged", reads=False))
    assert ["1", "2"] == asked


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        (2, 1, "the good end, made==2, is FAIL and not PASS: it is bad"),
        (1, 1, "--good and --bad are the same release, 1: give two different ones"),
        (1, 3, "the bad end, made==3, is INCONCLUSIVE and not FAIL: it says broken"),
        (1, "x", "--bad 'made==x' is not a release: write one, as vllm==VERSION"),
    ],
)
def test_ends_that_are_not_as_claimed_are_refused(searched, good, bad, said):
    with pytest.raises(UsageError) as caught:
        searched("good bad broken", good=good, bad=bad)
    assert str(caught.value).startswith(said)


def test_commits_of_a_release_s_range_lie_between_its_tags(searched, tmp_path):
    """Or between the newer tag and the last commit that both releases have behind them."""
    found, _ = searched("good bad", good=1)
    tree = repository_of(tmp_path / "tree", states("good", "good", "bad", "bad"))
    git(tree, "tag", "v1", "HEAD~3")
    git(tree, "tag", "2", "HEAD")
    repository = Repository.at(tree)
    commits = [git(tree, "rev-parse", name).strip() for name in ("HEAD~3", "HEAD~2", "HEAD")]
    assert (commits[0], commits[2]) == ends_in(repository, found)
    git(tree, "checkout", "-q", "-b", "release", "HEAD~2")
    git(tree, "commit", "-q", "--allow-empty", "-m", "cut")
    git(tree, "tag", "-f", "v1")
    assert (commits[1], commits[2]) == ends_in(repository, found)
    git(tree, "tag", "-d", "2")
    with pytest.raises(UsageError, match="has none of the tags v2, 2, made-2: give commits"):
        ends_in(repository, found)
    assert Path(repository.top) == tree


def test_good_end_of_the_commits_is_the_newer_where_it_was_repaired(searched, tmp_path):
    found, _ = searched("bad good", bad=1)
    tree = repository_of(tmp_path / "tree", states("bad", "good"))
    git(tree, "tag", "v1", "HEAD~1")
    git(tree, "tag", "v2", "HEAD")
    old, new = (git(tree, "rev-parse", name).strip() for name in ("v1", "v2"))
    assert (new, old) == ends_in(Repository.at(tree), found)
