"""A lock's differences in words: the failure as a diff, everything else in one line."""

from __future__ import annotations

import io
from fractions import Fraction

import pytest
from rich.console import Console

from oom_suite.laws.contracts import parse_polynomial
from oom_suite.records import Frame
from oom_suite.records.lock import Change, Difference, GrownTerm, Growth
from oom_suite.report.lock_diff import difference_lines, difference_text, render_differences

SIZES = {"pool": 1000, "t": 4, "block_size": 64}
AXES = tuple(SIZES)


def formula(text):
    return parse_polynomial(text, AXES)


def difference(change, reason="why", growths=()):
    key = ("s.py:decode", "decode", "generic")
    return Difference(key, change, reason, growths, "laws.toml", "oom-suite lock s.py:decode")


def growth(*lines, locked=0):
    term = GrownTerm(formula("7*pool"), Fraction(locked), Fraction(7 - locked), lines)
    before = formula(f"{locked}*pool + 4*t")
    return Growth(formula("7*pool + 4*t"), before, (term,), SIZES, 7016, 16)


def test_growth_in_full():
    """Two formulas as a diff, the new term marked, the line that brought it, the peak, the way."""
    found = growth((Frame("s.py", 6, "decode"), Fraction(7)))
    assert (
        "FAIL  s.py:decode: workload decode, grew in pool",
        "  locked   - 4*t",
        "  now      + 7*pool + 4*t",
        "  new      > 7*pool  (6.84 KiB)",
        "             s.py:6 (decode)  7 bytes per pool",
        "  peak     16 bytes locked, 7,016 now, at pool=1,000, t=4",
        "  next     fix it, or lock the larger law: oom-suite lock s.py:decode",
    ) == difference_lines(difference(Change.GREW, "grew in pool", (found,)))


def test_a_term_that_was_there_is_larger_and_not_new():
    """Its old coefficient stands beside it."""
    lines = difference_lines(difference(Change.GREW, "grew", (growth(locked=3),)))
    assert "  larger   > 7*pool  (6.84 KiB, 3 locked)" in lines


def test_further_growth_is_counted():
    """One formula is explained; a reader learns how many others there are."""
    one, two = growth(), growth(locked=1)
    assert "  also     1 more formula of the law grew" in difference_lines(
        difference(Change.GREW, "grew", (one, two))
    )
    assert "  also     2 more formulas of the law grew" in difference_lines(
        difference(Change.GREW, "grew", (one, two, two))
    )


def test_many_lines_are_cut():
    """Three lines are named, the rest counted."""
    lines = tuple((Frame("s.py", n, "f"), Fraction(1)) for n in range(5))
    shown = difference_lines(difference(Change.GREW, "grew", (growth(*lines),)))
    assert "             and 2 more lines" in shown


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (Change.SAME, "PASS  s.py:decode: workload decode, as locked in laws.toml"),
        (
            Change.SHRANK,
            (
                "PASS  s.py:decode: workload decode, why; to promise the new law run "
                "oom-suite lock s.py:decode"
            ),
        ),
        (
            Change.MISSING,
            (
                "INCONCLUSIVE  s.py:decode: workload decode, no law in laws.toml: run "
                "oom-suite lock s.py:decode"
            ),
        ),
        (
            Change.UNDECIDED,
            (
                "INCONCLUSIVE  s.py:decode: workload decode, why\n"
                "  next     promise the law as it is now: oom-suite lock s.py:decode"
            ),
        ),
    ],
)
def test_everything_else_is_short(change, text):
    """One line says how it stands and which command to run, if any."""
    assert text == difference_text(difference(change))


def printed(*changes, quiet=False):
    sink = io.StringIO()
    render_differences([difference(change) for change in changes], Console(file=sink), quiet=quiet)
    return sink.getvalue()


def test_what_is_as_locked_is_only_counted():
    """Green laws take one line together; gains are told unless only failures are asked for."""
    assert "laws: 2 as locked\n" == printed(Change.SAME, Change.SAME)
    assert "why; to promise" in printed(Change.SHRANK)
    assert "laws: 1 shrank\n" == printed(Change.SHRANK, quiet=True)
    assert "laws: none compared\n" == printed()
