"""The files of one commit after another, in a folder beside the user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fixtures.commits import repository_of
from oom_suite.errors import UsageError
from oom_suite.pipeline.commits.checkout import Checkouts
from oom_suite.pipeline.commits.repository import Repository

COMMITS = [
    {"a.py": "A = 1\n", "package/__init__.py": ""},
    {"a.py": "A = 2\n", "package/__init__.py": "", "package/b.py": ""},
    {"a.py": "A = 3\n"},
]


@pytest.fixture
def repository(tmp_path):
    return repository_of(tmp_path / "r", COMMITS)


def commits_of(repository):
    found = Repository.at(repository)
    return found, [found.commit(f"HEAD~{n}", "--good") for n in (2, 1, 0)]


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_each_commit_has_its_own_files_and_no_others(repository):
    """What a commit's code left, byte code among it, is not there for the next."""
    found, commits = commits_of(repository)
    with Checkouts(found) as places:
        with places.at(commits[1]) as top:
            assert ["a.py", "package", "package/__init__.py", "package/b.py"] == files_in(top)
            (top / "package/__pycache__").mkdir()
            (top / "package/__pycache__/b.pyc").write_bytes(b"stale")
            (top / "a.py").write_text("A = 99\n")
            first = top
        with places.at(commits[2]) as top:
            assert ["a.py"] == files_in(top)
            assert "A = 3\n" == (top / "a.py").read_text()
            assert first != top
        with places.at(commits[0]) as top:
            assert ["a.py", "package", "package/__init__.py"] == files_in(top)
    assert not top.exists()


def test_file_that_a_commit_s_code_changed_is_as_committed_at_the_next(repository):
    """Also where the two commits have the same file."""
    found, commits = commits_of(repository)
    with Checkouts(found) as places:
        with places.at(commits[0]) as top:
            (top / "package/__init__.py").write_text("X")
        with places.at(commits[1]) as top:
            assert "" == (top / "package/__init__.py").read_text()


def test_process_works_in_the_commit_meanwhile(repository, monkeypatch):
    """Its folder and what it would import from the working tree are the commit's."""
    found, commits = commits_of(repository)
    monkeypatch.setattr(sys, "path", [str(repository), str(repository / "package"), "/elsewhere"])
    before = Path.cwd(), list(sys.path)
    with Checkouts(found) as places, places.at(commits[0]) as top:
        assert (top, [str(top), str(top / "package"), "/elsewhere"]) == (Path.cwd(), sys.path)
    assert before == (Path.cwd(), sys.path)


def test_file_that_is_committed_nowhere_is_brought_along(repository):
    """A test that was just written can be asked of old commits."""
    (repository / "new.py").write_text("NEW = 1\n")
    found, commits = commits_of(repository)
    with Checkouts(found, ["new.py", "a.py"]) as places, places.at(commits[0]) as top:
        assert ("NEW = 1\n", "A = 1\n") == tuple((top / f).read_text() for f in ("new.py", "a.py"))


def test_folder_that_a_commit_does_not_have_is_named(repository):
    """Where the search is asked from a folder below the top."""
    (repository / "tools").mkdir()
    found, commits = commits_of(repository / "tools")
    with (
        Checkouts(found) as places,
        pytest.raises(UsageError, match="has no folder 'tools'"),
        places.at(commits[0]),
    ):
        pass
