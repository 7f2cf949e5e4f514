"""What a worker of a cluster must have in common with who asks it, at the exact boundary."""

from __future__ import annotations

from dataclasses import replace

import pytest

# tox installs every extra, so CI skips nothing here; a bare pytest may be without Dask.
pytest.importorskip("distributed", reason="needs the extra `fleet`: pip install .[fleet]")

from oom_suite.pipeline.scan.on_worker import ADVICE, Asked, facts, refusals
from oom_suite.records.scan import Unit
from oom_suite.targets.versions import DECIDES

SOURCE = "def gather(out, k_cache, slot_indices, block_size):\n    out.zero_()\n"


def asked(subject):
    unit = Unit(subject, "gather", "small", "generic")
    return Asked.all_of([unit], 9.0)[unit]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.py").write_text(SOURCE, encoding="utf-8")
    return tmp_path


def test_a_process_may_judge_what_it_asks_itself(here):
    every = tuple(map(asked, ("s.py:gather", "vllm==0.21.0", "streaming", "no_such:f")))
    assert "" == refusals(every)


@pytest.mark.parametrize("name", [*DECIDES, "the suite's code", "the list of plugins"])
def test_every_fact_that_decides_laws_must_be_the_same(here, name):
    """Of a release too; what differs is named with both values."""
    one = asked("vllm==0.21.0")
    other = replace(one, facts={**one.facts, name: "x"})
    assert f"{name} is {facts()[name]!r} there and 'x' here: {ADVICE}" == refusals((one, other))


def test_a_release_is_the_same_in_every_folder(here, monkeypatch):
    one = asked("vllm==0.21.0")
    assert ("", "") == (one.folder, one.content)
    monkeypatch.chdir("/")
    assert "" == one.refusal()


def test_a_file_is_judged_in_its_folder_alone(here, monkeypatch):
    """A spelling is relative to it, and so are the paths that a row shows."""
    one = asked("s.py:gather")
    monkeypatch.chdir("/")
    said = f"it runs in '/', and s.py:gather is in {str(here)!r}: start it there, on a disk that "
    assert one.refusal().startswith(said)


@pytest.mark.parametrize("subject", ["s.py:gather", "s:gather", "vllm@tree"])
def test_one_other_byte_of_the_code_is_refused(here, subject):
    """Of a file, a module and a checkout; a file that is no Python is not looked at."""
    (here / "tree/vllm/a").mkdir(parents=True)
    (here / "tree/vllm/a/b.py").write_text("b = 1\n", encoding="utf-8")
    first = asked(subject)
    (here / "tree/vllm/a/notes.txt").write_text("x", encoding="utf-8")
    assert "" == first.refusal()
    for name in ("s.py", "tree/vllm/a/b.py"):
        (here / name).write_text((here / name).read_text("utf-8") + "#", encoding="utf-8")
    said = f"{subject} is other code there than here: share one folder among all machines"
    assert (said, "") == (first.refusal(), asked(subject).refusal())


def test_code_that_is_not_there_is_judged_as_here(here):
    """As a row that says so, which is what the scan of one process has."""
    assert "" == asked("none.py:f").refusal()
