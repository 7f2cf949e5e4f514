"""The page of a law: every line that a reader needs, none that a name from outside can break."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from oom_suite.laws.contracts import parse_polynomial
from oom_suite.records import Frame, Law
from oom_suite.records.law_page import LawPage, LimitRow, TermRow, ValueRow
from oom_suite.report.law_page import page_lines

SIZES = {"t": 4, "k": 8, "block_size": 64}
AXES = tuple(SIZES)
LINE = Frame("decode.py", 7, "gather")


def formula(text):
    return parse_polynomial(text, AXES)


PAGE = LawPage(
    subject="s.py:decode",
    workload="decode",
    scenario="small",
    law=Law((formula("8*t*k + 3"), formula("100*t")), SIZES, {"block_size": 64}, 52),
    elsewhere=(),
    notes=(),
    terms=(
        TermRow(formula("8*t*k"), 256, ((LINE, Fraction(7)), (None, Fraction(1)))),
        TermRow(formula("3"), 3, ((LINE, Fraction(3)),)),
    ),
    values=(ValueRow("small", 259, 259), ValueRow("production", 2048, 2050)),
)


def test_the_page_in_full():
    """Formula by regime, assumptions, terms with their lines, values; nothing of a budget."""
    assert (
        "s.py:decode: workload decode, the law around scenario small",
        "  how      from 52 exact runs",
        "  law      peak bytes over t, k",
        "           max(",
        "             8*t*k + 3,   # wins at the scenario",
        "             100*t",
        "           )",
        "  assumes  block_size = 64 (not varied)",
        "  terms    8*t*k       256 B",
        "             7 bytes per t*k: decode.py:7 (gather)",
        "             1 bytes per t*k: no line of the code under test",
        "           3             3 B",
        "             3 bytes per call: decode.py:7 (gather)",
        "  values   small       259 B",
        "           production  2.00 KiB (2,050 bytes), where this law says 2,048",
    ) == page_lines(PAGE)


def test_a_single_formula_is_no_maximum():
    """One regime is shown as it is; a law without assumptions says so."""
    page = replace(PAGE, law=Law((formula("8*t*k"),), {"t": 4, "k": 8}), terms=(), values=())
    assert (
        "  law      peak bytes over t, k",
        "           8*t*k",
        "  assumes  nothing about the sizes",
    ) == page_lines(page)[2:]


def test_a_proved_law_says_how_and_under_what():
    """A proof's method and assumptions stand in place of what a fitted law holds."""
    page = replace(PAGE, method="proved in closed form", assumes=("t > 1 at a.py:3 (f)", "k <= t"))
    lines = page_lines(page)
    assert "  how      proved in closed form" == lines[1]
    assert ("  assumes  t > 1 at a.py:3 (f)", "           k <= t") == lines[7:9]


def test_no_winner_is_claimed_where_data_decides():
    """A formula with a size that only data knows is not said to win."""
    unknown = TermRow(formula("8*t*k"), None, ())
    assert not any("wins" in line for line in page_lines(replace(PAGE, terms=(unknown,))))


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (LimitRow("t", 1234), "8GiB takes at most 1,234 t"),
        (LimitRow("t", 5, "as far as it holds"), "8GiB takes at most 5 t, as far as it holds"),
        (LimitRow("t", 0), "8GiB takes not one of t: the other sizes fill it alone"),
        (LimitRow("t", None, "it is in no term"), "8GiB sets no limit to t: it is in no term"),
        (LimitRow("t", None, "held", is_solved=False), "t is not solved for, held"),
    ],
)
def test_what_fits_is_one_line_for_each_axis(row, line):
    """The answer for an axis: a number, none at all, no limit, or why there is no answer."""
    assert f"  fits     {line}" == page_lines(replace(PAGE, budget="8GiB", limits=(row,)))[-1]


def test_axes_without_a_limit_share_a_line():
    """Those that are free for the same reason are listed together, after the others."""
    rows = (LimitRow("t", None, "why"), LimitRow("k", 3), LimitRow("u", None, "why"))
    assert (
        "  fits     8GiB takes at most 3 k",
        "           8GiB sets no limit to t, u: why",
    ) == page_lines(replace(PAGE, budget="8GiB", limits=rows))[-2:]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (ValueRow("small", None, None), "cannot be run, and the law does not speak of it"),
        (ValueRow("small", 7, None), "7 B, by the law alone"),
        (ValueRow("small", None, 7), "7 B, by a run alone"),
    ],
)
def test_a_value_says_where_it_comes_from(row, text):
    """A law that does not speak of a scenario, or a run that cannot be made, is not hidden."""
    assert f"  values   small  {text}" == page_lines(replace(PAGE, values=(row,)))[-1]


def test_notes_are_shown_once_and_assumptions_apart():
    """What the law assumes is an assumption; what the judge noted is a note."""
    law = replace(PAGE.law, notes=("held at block_size=64: no other size can be built",))
    lines = page_lines(replace(PAGE, law=law, notes=("reproduces #1", "seen\x1b[31m")))
    assert "  assumes  held at block_size=64: no other size can be built" in lines
    assert "  note     seen [31m" in lines
    assert not any("reproduces" in line for line in lines)


def test_many_lines_of_a_term_are_cut():
    """The largest parts of a term are named, the rest are counted."""
    parts = tuple((Frame("d.py", n, "f"), Fraction(n)) for n in range(9, 0, -1))
    lines = page_lines(replace(PAGE, terms=(TermRow(formula("45*t"), 180, parts),), values=()))
    assert "             and 3 more lines" == lines[-1]


def test_the_page_as_json_holds_what_the_text_does():
    """Machines get the exact numbers, with lines and limits."""
    body = replace(PAGE, budget="8GiB", limits=(LimitRow("t", 3),)).to_json()
    assert ["8*t*k + 3", "100*t"] == body["law"]["regimes"]
    assert {"where": "decode.py:7 (gather)", "coefficient": "7"} == body["terms"][0]["lines"][0]
    assert {"law_bytes": 2048, "run_bytes": 2050} == body["scenarios"]["production"]
    assert {"t": {"largest": 3, "is_solved": True, "reason": ""}} == body["limits"]
