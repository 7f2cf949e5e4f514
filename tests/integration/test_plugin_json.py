"""The option ``--oom-json``."""

from __future__ import annotations

import json

import pytest

from oom_suite.processes import ending
from oom_suite.processes.ending import Interrupted

BOTH = """
def test_one(oom_check):
    oom_check("missing_one.py:f")

def test_two(oom_check):
    oom_check("missing_two.py:f")

def test_two_again(oom_check):
    oom_check("missing_two.py:f")
"""


@pytest.mark.parametrize("xdist", [(), ("-n2",)], ids=["plain", "xdist"])
def test_the_results_of_all_workers_are_in_it_each_once(pytester, oom_run, xdist):
    """Written although every test failed."""
    pytester.makepyfile(BOTH)
    done = oom_run("--oom-json=out.json", *xdist)
    done.assert_outcomes(failed=3)
    done.stdout.fnmatch_lines(["2 inconclusive", "results written to *out.json"])
    results = json.loads((pytester.path / "out.json").read_text())["results"]
    assert ["missing_one.py:f", "missing_two.py:f"] == [r["subject"] for r in results]
    assert ["INCONCLUSIVE"] * 2 == [r["verdict"] for r in results]


def test_it_is_written_when_nothing_was_judged(oom_seen, pytester):
    """A reader need not tell a missing file from an empty run."""
    assert oom_seen("--oom-json=out.json")["json"] == "out.json"
    assert json.loads((pytester.path / "out.json").read_text())["results"] == []


def test_the_command_line_wins_over_the_ini_file(oom_seen):
    """The ini file alone does, too."""
    assert oom_seen(ini="oom_json = b.json")["json"] == "b.json"
    assert oom_seen("--oom-json=a.json", ini="oom_json = b.json")["json"] == "a.json"


def test_a_file_that_cannot_be_written_stops_the_run_before_collection(oom_refusal, pytester):
    """Not after an hour of judging."""
    folder = str(pytester.path)
    assert "it is a folder; give a file" in oom_refusal(f"--oom-json={folder}")
    line = oom_refusal("--oom-json=none/out.json")
    assert f"there is no folder '{folder}/none'" in line
    assert oom_refusal("--oom-json=-").startswith("--oom-json: '-' is for what pytest itself")


CUT_SHORT = """
import json, os, signal

def test_one(oom_check):
    oom_check.judge("missing_one.py:f")

def test_two(oom_check):
    body = json.load(open("out.json"))
    assert ["missing_one.py:f"] == [r["subject"] for r in body["results"]]
    assert not body["is_complete"]
    raise KeyboardInterrupt
"""


@pytest.mark.usefixtures("remembered_runs")
def test_what_is_known_is_in_it_while_the_run_goes_on_and_when_it_is_interrupted(pytester):
    """A reader can tell that it is not all; no child is started any more."""
    pytester.makepyfile(CUT_SHORT)
    try:
        done = pytester.runpytest_inprocess("--oom-json=out.json", no_reraise_ctrlc=True)
        with pytest.raises(Interrupted):
            ending.raise_if_ended()
    finally:
        ending.begin_again()
    assert pytest.ExitCode.INTERRUPTED == done.ret
    done.assert_outcomes(passed=1)
    body = json.loads((pytester.path / "out.json").read_text())
    assert (["missing_one.py:f"], False) == (
        [r["subject"] for r in body["results"]],
        body["is_complete"],
    )


def test_a_disk_that_fills_up_leaves_the_run_its_exit_code(pytester, oom_run):
    """One line of the summary says that the file was not written."""
    pytester.makepyfile("def test_passes():\n    pass\n")
    done = oom_run("--oom-json=/dev/full")
    assert pytest.ExitCode.OK == done.ret
    done.stdout.fnmatch_lines(["cannot write '/dev/full': No space left on device*"])
