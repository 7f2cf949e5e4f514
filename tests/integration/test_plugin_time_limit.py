"""The option ``--oom-time-limit``."""

from __future__ import annotations

import pytest


def test_the_command_line_wins_over_the_ini_file_over_the_default(oom_seen):
    """Two minutes where nobody says."""
    assert oom_seen()["time_limit_s"] == 120.0
    assert oom_seen(ini="oom_time_limit = 60")["time_limit_s"] == 60.0
    assert oom_seen("--oom-time-limit=1.5", ini="oom_time_limit = 60")["time_limit_s"] == 1.5


@pytest.mark.parametrize("text", ["soon", "0", "-1", "inf", "nan"])
def test_what_is_no_time_stops_the_run_before_collection(oom_refusal, text):
    """One line, with the option and the value."""
    expected = f"--oom-time-limit: {text!r} is not a number of seconds; write it like 60"
    assert expected == oom_refusal(f"--oom-time-limit={text}")
