"""`oom-suite sanitize`: the exit code and the lines of every end, with a stand-in for the tool."""

from __future__ import annotations

import functools
import json
import os
import sys

import pytest

from oom_suite.sanitizers.record import SanitizerOutcome
from oom_suite.sanitizers.run import find_tool, how_to_install, sanitize

REPORT = {
    "clean": "========= ERROR SUMMARY: 0 errors",
    "found": (
        "========= Invalid __global__ read of size 4 bytes\n"
        "=========     at load_rows+0x1b0 in /src/kernels.py:12\n"
        "========= ERROR SUMMARY: 1 error"
    ),
}
STAND_IN = """#!{python}
import os, sys, time
report = {report!r}
options = dict(one.lstrip("-").partition("=")[::2] for one in sys.argv[1:] if one.startswith("--"))
if report == "hang":
    time.sleep(60)
open(options["log-file"], "w").write(report)
print("tool", options["tool"], "cached", os.environ.get("PYTORCH_NO_CUDA_MEMORY_CACHING"))
print("oom-suite: the step is done")
"""


@pytest.fixture
def stand_in(tmp_path):
    """A compute-sanitizer that writes what it is told to."""

    def make(report):
        path = tmp_path / "compute-sanitizer"
        path.write_text(STAND_IN.format(python=sys.executable, report=report))
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def run_cli(suite, tmp_path, monkeypatch):
    """`run_cli(*arguments)`: the command, which finds the stand-in first."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return functools.partial(suite, "sanitize")


def test_a_clean_step_passes(stand_in, run_cli):
    """One line, exit code 0."""
    stand_in(REPORT["clean"])
    done = run_cli("streaming")
    assert (0, "PASS streaming under memcheck: memcheck: no errors in one step\n") == (
        done.returncode,
        done.stdout,
    )


def test_an_error_fails_with_its_line(stand_in, run_cli, tmp_path):
    """The hit is printed with kernel, file and line, and is in the JSON."""
    stand_in(REPORT["found"])
    done = run_cli("streaming", "--json", "run.json")
    assert 1 == done.returncode
    assert "at /src/kernels.py:12 (load_rows)" in done.stdout
    body = json.loads((tmp_path / "run.json").read_text())["sanitizer"]
    assert ("found errors", "sanitizer-out-of-bounds") == (body["outcome"], body["hits"][0]["kind"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("streaming", "--tool", "memchek"), "did you mean 'memcheck'?"),
        (("streaming", "--scenario", "smal"), "did you mean 'small'?"),
        (("streamin",), "did you mean 'streaming'?"),
    ],
    ids=["tool", "scenario", "subject"],
)
def test_bad_usage_is_one_line(run_cli, arguments, words):
    """Exit code 2, and the nearest name."""
    done = run_cli(*arguments)
    assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert words in done.stderr


def test_without_the_tool_it_says_what_to_install():
    """No tool is an outcome with the next thing to do, not a pass."""
    found = sanitize("streaming", find=lambda: None)
    assert (SanitizerOutcome.NO_TOOL, how_to_install()) == (found.outcome, found.reason)
    assert "install" in found.reason


def test_a_tool_that_hangs_is_ended(stand_in):
    """The time limit is told, and nothing is left running."""
    tool = stand_in("hang")
    found = sanitize("streaming", time_limit_s=1.0, find=lambda: str(tool))
    assert SanitizerOutcome.TIMED_OUT is found.outcome
    assert "no end within 1 s" in found.reason


def test_a_tool_that_cannot_start_is_told(tmp_path):
    """What the system says of it, in one line."""
    found = sanitize("streaming", find=lambda: str(tmp_path))
    assert SanitizerOutcome.FAILED is found.outcome
    assert "cannot be started" in found.reason


def test_the_tool_on_the_path_is_found(stand_in, monkeypatch):
    """PATH comes before the toolkit's own folder."""
    tool = stand_in("")
    monkeypatch.setenv("PATH", str(tool.parent))
    assert str(tool) == find_tool()
