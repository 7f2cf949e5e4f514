"""The table of results and what stands below it, golden at 100 columns."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from known_results import BUG, FAILURE, FIX, KNOWN, UNKNOWN
from rich.console import Console

from oom_suite.records import Verdict
from oom_suite.report import closing_line, failure_text, render
from oom_suite.report.terminal import print_table

TABLE = """\
subject       verdict          law at the scenario                peak    largest  budget
────────────────────────────────────────────────────────────────────────────────────────────────
full_dequant  FAIL (expected:  65536*swa_num_blocks          30.49 GiB  13.54 GiB  over 12.74GiB
              reproduces       + 82048*extra_num_blocks
              #41962)
vllm==0.21.0  FAIL             65536*swa_num_blocks          30.49 GiB  13.54 GiB  over 12.74GiB
                               + 82048*extra_num_blocks
vllm==0.22.0  PASS             3073*num_tokens*swa_topk       9.50 MiB   4.00 MiB  fits 12.74GiB
                               + 4098*num_tokens*extra_topk
                               + 512
"""


def shown(results, *, width=None, terminal=False, quiet=False):
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
    )
    render(results, console, quiet=quiet)
    return stream.getvalue()


def test_the_table_reads_well_at_100_columns():
    assert shown([KNOWN, BUG, FIX], width=100).startswith(TABLE)


def test_below_the_table_stand_the_failures_in_the_words_of_pytest_and_then_the_counts():
    text = shown([BUG, FIX], width=100)
    assert FAILURE in text
    assert text.endswith("\n1 passed, 1 failed\n")


def test_a_known_failure_is_named_without_alarm():
    assert failure_text(KNOWN).startswith("FAIL (expected: reproduces #41962)  full_dequant: ")
    assert "\x1b[31m" not in shown([KNOWN], width=100, terminal=True)
    assert "\x1b[31m" in shown([BUG], width=100, terminal=True)


def test_a_known_failure_that_passes_is_explained():
    surprise = replace(FIX, expected=Verdict.FAIL)
    text = shown([surprise])
    assert "PASS (expected: FAIL)  vllm==0.22.0" in text
    assert text.endswith("1 passed unexpectedly\n")


def test_a_pass_needs_no_explanation():
    assert "why" not in shown([FIX])


@pytest.mark.parametrize("terminal", [False, True], ids=["piped", "terminal"])
def test_brackets_from_outside_are_shown_and_control_characters_are_not(terminal):
    text = shown([UNKNOWN], width=160, terminal=terminal)
    assert "kernels/[red]x[/red].py:f" in text
    assert "ValueError: [/]  [31m second line" in text
    assert "\x1b[31m" not in text


def test_piped_output_has_no_colours_and_is_not_squeezed(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    text = shown([KNOWN, BUG, FIX])
    assert text.startswith(TABLE)
    assert "\x1b" not in text
    assert FAILURE in text


LONG = replace(BUG, subject="tests/kernels/test_a_long_name.py::test_of_a_decode_step[bf16-64]")


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("terminal", [False, True], ids=["piped", "terminal"])
def test_a_table_without_room_keeps_names_whole(monkeypatch, width, terminal):
    """As COLUMNS says, also in a pipe: no line is wider, but for one name that is."""
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    print_table([LONG, FIX], Console(file=stream, force_terminal=terminal, color_system=None))
    lines = stream.getvalue().splitlines()
    names = [f"{one.subject} ({one.workload})" for one in (LONG, FIX)]
    assert names == [line for line in lines if line in names]
    assert max(len(line) for line in lines if line not in names) <= width
    text = "\n".join(lines)
    for whole in ("3073*num_tokens*swa_topk", "over 12.74GiB", "13.54 GiB", "9.50 MiB", "FAIL"):
        assert whole in text


def test_a_table_fits_to_the_character(monkeypatch):
    """The widest line of the table is 96 characters: with one less, names stand above."""
    widest = max(len(line) for line in TABLE.splitlines())
    for width, begins in ((widest, "subject"), (widest - 1, "  verdict")):
        monkeypatch.setenv("COLUMNS", str(width))
        assert shown([KNOWN, BUG, FIX]).startswith(begins)


def test_piped_output_leaves_the_console_as_it_was():
    console = Console(file=io.StringIO(), width=60)
    render([BUG], console)
    assert console.width == 60


def test_a_narrow_terminal_is_respected():
    lines = shown([KNOWN, BUG, FIX, UNKNOWN], width=72, terminal=True).splitlines()
    plain = [Console().render_str(line).plain for line in lines if "\x1b" not in line]
    assert max(len(line) for line in plain) <= 72


def test_without_any_budget_there_is_no_budget_column():
    assert "budget" not in shown([replace(FIX, budget=None)])


def test_quiet_shows_what_is_not_as_expected_and_the_counts():
    assert shown([KNOWN, BUG, FIX], quiet=True) == (
        "FAIL  vllm==0.21.0: workload decode, lane shadow, scenario issue-41962: "
        "peak grows with swa_num_blocks and extra_num_blocks\n"
        "1 passed, 1 failed as expected, 1 failed\n"
    )


def test_the_counts_name_every_outcome():
    assert closing_line([FIX, FIX, KNOWN, UNKNOWN]) == (
        "2 passed, 1 failed as expected, 1 inconclusive"
    )
    assert closing_line([]) == "nothing judged"


def test_nothing_judged_prints_no_empty_table():
    assert shown([]) == "nothing judged\n"


def test_the_table_names_targets_where_there_are_several():
    table = shown([replace(BUG, target=name) for name in ("cuda:sm_90", "rocm:gfx942")])
    assert "  cuda:sm_90" in table
    assert "  rocm:gfx942" in table
