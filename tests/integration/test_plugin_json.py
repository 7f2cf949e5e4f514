"""The option ``--oom-json``."""

from __future__ import annotations

import json

import pytest

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
    assert oom_refusal(f"--oom-json={folder}").endswith("is a folder; give a file")
    line = oom_refusal("--oom-json=none/out.json")
    assert line.endswith(f"there is no folder '{folder}/none'")
