"""The option ``--oom-budget``."""

from __future__ import annotations

import pytest

from oom_suite.units import GIB, MIB


def test_without_it_there_is_no_budget(oom_seen):
    """The contract alone decides."""
    assert oom_seen()["budget_free_bytes"] is None


@pytest.mark.parametrize(
    ("text", "expected_bytes"), [("1.5GiB", 3 * GIB // 2), ("mi325x", 256 * GIB - 16 * MIB)]
)
def test_it_is_an_amount_or_a_device(oom_seen, text, expected_bytes):
    """On the command line and in the ini file alike."""
    assert expected_bytes == oom_seen(f"--oom-budget={text}")["budget_free_bytes"]
    assert expected_bytes == oom_seen(ini=f"oom_budget = {text}")["budget_free_bytes"]


def test_the_command_line_wins_over_the_ini_file(oom_seen):
    """An amount over a device."""
    assert oom_seen("--oom-budget=1GiB", ini="oom_budget = MI325X")["budget_free_bytes"] == GIB


@pytest.mark.parametrize("text", ["MI999", "-1GiB", "0GiB", ""])
def test_a_bad_budget_stops_the_run_before_collection(oom_refusal, text):
    """One line, with the option and the value."""
    line = oom_refusal(f"--oom-budget={text}")
    assert line.startswith("--oom-budget: ")
    assert repr(text) in line


def test_a_peak_over_the_budget_fails_the_gate(oom_gate):
    """A law that keeps its contract may still ask for more than there is."""
    arguments = ("-k", "decode-shadow", "--oom-budget=100KiB")
    done, (result,) = oom_gate(*arguments, subjects=["streaming"])
    done.assert_outcomes(failed=1, deselected=1)
    assert {"name": "100KiB", "free_bytes": 102_400, "fits": False} == result["budget"]
    done.stdout.fnmatch_lines(["FAIL  streaming: *", "  budget   over 100KiB by *"])
