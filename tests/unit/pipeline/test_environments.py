"""Pythons with other versions: made once, whole or not at all. pip itself is made up here."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import oom_suite
from oom_suite.errors import FetchError, UsageError
from oom_suite.pipeline import environments
from oom_suite.pipeline.environments import PipEnvironments, is_here
from oom_suite.pipeline.settings import silent

TORCH = metadata.version("torch").partition("+")[0]


@pytest.fixture
def pip(monkeypatch):
    """What pip was asked to install; it does nothing, and ends as `pip.code` says."""

    class Pip(list):
        code, said = 0, ""

    pip = Pip()

    def run(words, env, log):
        pip.append([word for word in words if "==" in word])
        log.write_text(pip.said)
        return pip.code

    monkeypatch.setattr(environments, "run_command", run)
    monkeypatch.setattr(
        environments.venv, "create", lambda place, **_: (place / "bin").mkdir(parents=True)
    )
    return pip


def test_versions_that_are_here_need_no_environment(tmp_path, pip):
    """Of whichever build: 2.13.0 is 2.13.0+cpu."""
    python = PipEnvironments(tmp_path).python({"torch": TORCH}, silent)
    assert (Path(sys.executable), []) == (python, pip)


@pytest.mark.parametrize(
    ("version", "expected"), [(TORCH, True), ("1.0", False), (f"{TORCH}+rocm9", False)]
)
def test_a_build_is_another_where_it_is_named(version, expected):
    assert expected is is_here("torch", version)
    assert not is_here("no-such-package", version)


def test_an_environment_is_made_once_with_all_else_as_it_is_here(tmp_path, pip):
    places = PipEnvironments(tmp_path)
    first = places.python({"torch": "1.0"}, silent)
    assert first == places.python({"torch": "1.0"}, silent)
    assert first != places.python({"torch": "1.1"}, silent)
    one, other = pip
    assert ("torch==1.0", "torch==1.1") == (one[0], other[0])
    assert one[1:] == other[1:]
    assert f"rich=={metadata.version('rich')}" in one
    assert not any(each.startswith(("torch", "plotly", "sqlalchemy")) for each in one[1:])


def test_versions_that_pip_refuses_leave_nothing_and_are_one_line(tmp_path, pip):
    pip.code, pip.said = 1, "looking\nERROR: No matching distribution found for torch==1.0\n"
    with pytest.raises(FetchError) as caught:
        PipEnvironments(tmp_path).python({"torch": "1.0", "triton": "9"}, silent)
    assert (
        "torch==1.0 and triton==9 cannot be installed: No matching distribution found for "
        "torch==1.0"
    ) == str(caught.value)
    assert [] == [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_suite_that_is_not_installed_says_what_it_needs(tmp_path, pip, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(environments.metadata, "version", missing)
    with pytest.raises(UsageError, match="needs an installed suite: pip install oom-suite"):
        PipEnvironments(tmp_path).python({"torch": "1.0"}, silent)


def test_the_suite_that_runs_here_is_found_there_and_no_other_package(tmp_path):
    """Its folder is on the path through a link: beside it lies another torch."""
    path = PipEnvironments(tmp_path).path()
    assert path == PipEnvironments(tmp_path).path()
    code = "import oom_suite, sys; print(oom_suite.__path__[0]); import rich"
    words = [sys.executable, "-S", "-c", code]
    done = subprocess.run(words, env={"PYTHONPATH": path}, capture_output=True, text=True)
    assert Path(oom_suite.__file__).parent.samefile(done.stdout.strip())
    assert "No module named 'rich'" in done.stderr
