"""The option ``--oom-scenario``."""

from __future__ import annotations


def test_without_it_the_scenario_is_the_issues(oom_seen):
    """The pool that killed the server."""
    seen = oom_seen()
    assert ("issue-41962", 221_839) == (seen["scenario"], seen["sizes"]["swa_num_blocks"])


def test_the_command_line_names_another(oom_seen):
    """Its sizes come with it."""
    seen = oom_seen("--oom-scenario=small")
    assert ("small", 64) == (seen["scenario"], seen["sizes"]["swa_num_blocks"])


def test_the_ini_file_names_another(oom_seen):
    """As on the command line."""
    assert oom_seen(ini="oom_scenario = production")["scenario"] == "production"


def test_the_command_line_wins_over_the_ini_file(oom_seen):
    """Also where it names the default."""
    seen = oom_seen("--oom-scenario=issue-41962", ini="oom_scenario = small")
    assert seen["scenario"] == "issue-41962"


def test_an_unknown_scenario_stops_the_run_before_collection(oom_refusal):
    """One line that lists the known ones and the nearest."""
    expected = (
        "--oom-scenario: unknown scenario 'smal': choose from issue-41962, production, small; "
        "did you mean 'small'?"
    )
    assert expected == oom_refusal("--oom-scenario=smal")
