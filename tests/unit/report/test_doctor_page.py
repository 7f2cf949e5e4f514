"""The doctor's page: columns, wrapping, and no control characters of somebody else's."""

from __future__ import annotations

import io

from rich.console import Console

from oom_suite.report.doctor import Finding, Section, State, finding_lines, render

LONG = Finding("nvml", State.NO, "one two three " * 10, "install this and set that " * 5)


def test_a_line_names_state_and_text_in_columns():
    """Twenty columns to the state, twenty-eight to the text."""
    found = list(finding_lines(Finding("shadow", State.YES, "ready"), 80))
    assert ["  shadow            yes     ready"] == found


def test_long_text_is_wrapped_below_itself_and_advice_is_marked():
    """No line is wider than the page."""
    lines = list(finding_lines(LONG, 80))
    assert max(map(len, lines)) <= 80
    assert all(line.startswith(" " * 28) for line in lines[1:])
    assert 1 == sum("-> " in line for line in lines)


def test_control_characters_of_a_process_name_are_shown_and_not_obeyed():
    """A tenant may call itself anything."""
    (line,) = finding_lines(Finding("other", State.NOTE, "pid 1 (\x1b[2J)"), 80)
    assert "\x1b" not in line


def rendered(**console):
    out = io.StringIO()
    render((Section("meters", (LONG,)),), Console(file=out, width=200, **console))
    return out.getvalue()


def test_a_pipe_has_plain_text_and_a_terminal_has_colour():
    """The words are the same."""
    assert "\x1b" not in rendered()
    assert "\x1b" in rendered(force_terminal=True, color_system="standard")


def test_the_last_line_says_what_is_broken():
    """Or that nothing is."""
    assert rendered().endswith("\nnothing is broken\n")
    bad = Section("lanes", (Finding("torch", State.BROKEN, "gone"),))
    out = io.StringIO()
    render((bad,), Console(file=out))
    assert out.getvalue().endswith("\nbroken: torch\n")
