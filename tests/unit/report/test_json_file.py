"""Results as a JSON file: whole or not at all."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from oom_suite.errors import UsageError
from oom_suite.records import Result, Verdict
from oom_suite.records.lock import Change, Difference
from oom_suite.report import files, write_json
from oom_suite.targets import versions

RESULT = Result("streaming", "decode", "shadow", "small", {"pool": 1}, Verdict.PASS, "ok")


def test_the_file_holds_the_results_and_where_they_were_made(tmp_path):
    write_json([RESULT], tmp_path / "out.json")
    body = json.loads((tmp_path / "out.json").read_text())
    assert body["results"] == [RESULT.to_json()]
    assert body["environment"]["python"] == platform.python_version()
    assert body["environment"]["torch"] == metadata.version("torch")
    versions_of = ["python", "torch", "triton", "oom_suite", "platform"]
    assert [*versions_of, "commit", "dirty", "made_at", "working_tree"] == list(body["environment"])


def git(folder, *words):
    said = subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words],
        check=True,
        capture_output=True,
        text=True,
    )
    return said.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository with one file in one commit."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("x = 1")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def test_the_commit_is_the_checkouts_own(repository):
    expected = {"commit": git(repository, "rev-parse", "HEAD"), "dirty": False}
    assert expected == versions.checkout(repository)
    (repository / "new.json").write_text("a file that nobody committed changes no code")
    assert expected == versions.checkout(repository)


def test_a_changed_file_makes_it_dirty(repository):
    (repository / "code.py").write_text("x = 2")
    assert {"commit": git(repository, "rev-parse", "HEAD"), "dirty": True} == versions.checkout(
        repository
    )


def test_a_working_tree_is_found_from_any_folder_in_it(repository):
    """The code under test need not lie at the top, as the suite does."""
    inside = repository / "kernels"
    inside.mkdir()
    commit, at = git(repository, "rev-parse", "HEAD"), git(repository, "log", "-1", "--format=%cI")
    expected = {"commit": commit, "dirty": False, "committed_at": at}
    assert expected == versions.working_tree(inside)
    (repository / "code.py").write_text("x = 2")
    assert {**expected, "dirty": True} == versions.working_tree(inside)


def test_a_folder_in_no_repository_has_no_working_tree(tmp_path):
    nothing = {"commit": None, "dirty": None, "committed_at": None}
    assert nothing == versions.working_tree(tmp_path)


def test_a_folder_inside_somebody_elses_checkout_has_no_commit(repository):
    """An environment of the user's lies there: its commit says nothing about the suite."""
    installed = repository / "site-packages"
    installed.mkdir()
    assert {"commit": None, "dirty": None} == versions.checkout(installed)


def test_where_git_cannot_say_there_is_no_commit(tmp_path, repository, monkeypatch):
    """No commit yet, or no git."""
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "--quiet")
    assert {"commit": None, "dirty": None} == versions.checkout(empty)
    monkeypatch.setenv("PATH", "")
    assert {"commit": None, "dirty": None} == versions.checkout(repository)


def test_a_file_names_the_commit_it_was_written_at(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "checkout", lambda: {"commit": "abc", "dirty": True})
    write_json([], tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())["environment"]
    assert ("abc", True) == (written["commit"], written["dirty"])


def test_differences_from_a_lockfile_stand_beside_the_results(tmp_path):
    missing = Difference(("streaming", "decode", "generic"), Change.MISSING, "it has no entry")
    write_json([RESULT], tmp_path / "out.json", [missing])
    body = json.loads((tmp_path / "out.json").read_text())
    assert ["results", "locked", "environment"] == list(body)
    assert [missing.to_json()] == body["locked"]
    assert "not locked" == body["locked"][0]["change"]
    write_json([RESULT], tmp_path / "out.json")
    assert "locked" not in json.loads((tmp_path / "out.json").read_text())


def test_a_distribution_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(versions.metadata, "version", _missing)
    assert versions.environment()["torch"] is None


def _missing(name):
    raise metadata.PackageNotFoundError(name)


def test_an_existing_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    (tmp_path / "out.json").write_text("old")
    write_json([], str(tmp_path / "out.json"))
    assert json.loads((tmp_path / "out.json").read_text())["results"] == []
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    write_json([], tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").exists()


def test_a_device_is_written_to_and_not_replaced():
    write_json([], os.devnull)
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("name", ["missing/out.json", "folder", "file/out.json"])
def test_a_file_that_cannot_be_written_is_one_clear_line_and_leaves_nothing(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=r"cannot write '.*'.*: ") as caught:
        write_json([RESULT], tmp_path / name)
    assert "\n" not in str(caught.value)
    assert before == sorted(tmp_path.rglob("*"))


def test_a_write_that_breaks_off_keeps_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "out.json").write_text("old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(UsageError, match="No space left on device"):
        write_json([RESULT], tmp_path / "out.json")
    assert (tmp_path / "out.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
