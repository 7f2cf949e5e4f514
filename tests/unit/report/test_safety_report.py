from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from oom_suite.records import Verdict
from oom_suite.records.safety import Finding, Hit, Region, SafetyReport
from oom_suite.records.trace import Frame
from oom_suite.report.safety import MAX_HITS, closing_line, finding_lines, render_safety

REGION = Region("kv_cache", "unreferenced token", 3, 5, 100, 4, 9)
WHERE = (
    "kv_cache: unreferenced token, block 3, slot 5, bytes 100 to 103, "
    "9 from the nearest it may touch"
)
FAIL = Finding(
    "reads",
    Verdict.FAIL,
    "why",
    (Hit("reads-unreferenced-token", "it reads", Frame("a.py", 7, "f"), REGION),),
)
OPEN = Finding("creep", Verdict.INCONCLUSIVE, "needs a GPU")
PASS = Finding("reads", Verdict.PASS, "fine", not_proved="does not prove much")
FINE = Finding("creep", Verdict.PASS, "fine", not_proved="or more")


def text(*reports, quiet=False, width=100, terminal=False):
    sink = io.StringIO()
    console = Console(file=sink, width=width, force_terminal=terminal, color_system=None)
    render_safety(reports, console, quiet=quiet)
    return sink.getvalue()


def test_the_table_has_a_verdict_for_each_property():
    """One row a subject, one column a property, and what a PASS does not prove once at the end."""
    reports = (
        SafetyReport("a", "cpu", (PASS, FINE)),
        SafetyReport("b[0]", "cpu", (FAIL, OPEN), ("reads",)),
    )
    lines = text(*reports).splitlines()
    assert [
        "subject  reads            creep",
        "a        PASS             PASS",
        "b[0]     FAIL (expected)  INCONCLUSIVE",
    ] == lines[:3]
    assert [
        "A PASS does not prove:",
        "  reads      much",
        "  creep      or more",
        "",
        "Growth was not judged: none of this says how the peak grows with the pool.",
        "  next     oom-suite check a 'b[0]'",
        "2 subjects, 4 verdicts: 3 as expected, 0 not as expected, 1 inconclusive",
    ] == lines[-7:]


def test_a_breach_has_its_line_and_its_bytes():
    """Kind, text, file and line, then the region to the byte."""
    report = SafetyReport("a", "cpu", (FAIL,))
    assert [
        "FAIL a: reads",
        "  reason   why",
        "  hit      reads-unreferenced-token: it reads",
        "           at a.py:7 (f)",
        f"           {WHERE}",
    ] == list(finding_lines(report, FAIL))


def test_many_hits_are_cut_and_counted():
    """What is left out is counted, and where it can be found is said."""
    hits = tuple(Hit("kind", str(number)) for number in range(MAX_HITS + 2))
    finding = Finding("reads", Verdict.FAIL, "why", hits)
    lines = list(finding_lines(SafetyReport("a", "cpu", (finding,)), finding))
    assert (2 + MAX_HITS + 1, "           and 2 more, which --json writes") == (
        len(lines),
        lines[-1],
    )


def test_quiet_shows_only_what_is_not_as_expected():
    """An expected breach is silent; an open property is not."""
    shown = text(SafetyReport("b", "cpu", (FAIL, OPEN), ("reads",)), quiet=True)
    assert shown.startswith("INCONCLUSIVE b: creep")
    assert "it reads" not in shown


def test_all_green_does_not_say_that_the_peak_does_not_grow():
    """Also with --quiet; where nothing was judged there is nothing to add."""
    report = SafetyReport("vllm==0.21.0", "cpu", (PASS,))
    for quiet in (True, False):
        assert (
            "Growth was not judged: none of this says how the peak grows with the pool.\n"
            "  next     oom-suite check vllm==0.21.0\n"
        ) in text(report, quiet=quiet)
    assert "Growth" not in text()


def test_the_growth_of_a_workload_that_was_named_is_asked_for_by_its_name():
    """Another workload's law would answer another question."""
    report = SafetyReport("vllm==0.33.0", "cpu", (PASS,), workload="sparse-prefill")
    assert "next     oom-suite check vllm==0.33.0 --workload sparse-prefill\n" in text(report)


def test_a_known_breach_that_is_gone_is_not_as_expected():
    """A PASS where a FAIL is known counts against the subject, so that the list is kept true."""
    report = SafetyReport("b", "cpu", (PASS,), ("reads",))
    assert "1 subject, 1 verdict: 0 as expected, 1 not as expected, 0 inconclusive" == (
        closing_line([report])
    )


def test_a_hit_does_not_say_again_what_the_reason_said():
    """Its kind and its bytes are left; text and line stand in the reason."""
    hit = FAIL.hits[0]
    told = replace(FAIL, reason=f"{hit.text} at {hit.frame}")
    assert [
        "FAIL a: reads",
        "  reason   it reads at a.py:7 (f)",
        "  hit      reads-unreferenced-token",
        f"           {WHERE}",
    ] == list(finding_lines(SafetyReport("a", "cpu", (told,)), told))


def test_a_line_that_the_reason_does_not_name_stays():
    """Only the text is told: where it is must not be lost."""
    told = replace(FAIL, reason="it reads")
    lines = list(finding_lines(SafetyReport("a", "cpu", (told,)), told))
    assert ["  hit      reads-unreferenced-token", "           at a.py:7 (f)"] == lines[2:4]


LONG = replace(FAIL, reason="why " * 30, not_proved="does not prove " + "much " * 30)
OPEN_TOO = replace(PASS, not_proved="does not prove " + "much " * 30)


def test_a_terminal_breaks_rows_below_their_text():
    """No line is wider than the terminal, and what follows stands in the same column."""
    lines = text(SafetyReport("a", "cpu", (LONG,)), width=40, terminal=True).splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("  reason"))
    assert "           why why why why why why why" == lines[start + 1]
    assert 40 >= max(len(line) for line in lines[:-1])


def test_rows_are_whole_where_nobody_watches_and_prose_is_broken():
    """A reason is for grep; what a PASS does not prove is to be read."""
    lines = text(
        SafetyReport("a", "cpu", (replace(LONG, name="creep"), OPEN_TOO)), width=40
    ).splitlines()
    assert "  reason   " + "why " * 29 + "why" in lines
    start = lines.index("A PASS does not prove:")
    assert "             much much much much much" == lines[start + 2]


@pytest.mark.parametrize(
    ("width", "table"),
    [
        (26, ["subject  reads  creep", "a        FAIL   INCONCLUSIVE", ""]),
        (28, ["subject  reads  creep", "a        FAIL   INCONCLUSIVE", ""]),
        (
            27,
            ["subject  reads", "a        FAIL", "", "subject  creep", "a        INCONCLUSIVE", ""],
        ),
    ],
    ids=["piped-26", "just-fits", "one-less"],
)
def test_a_table_wider_than_the_terminal_goes_on_below(width, table):
    """The subjects stand before each part; a pipe has it in one."""
    shown = text(SafetyReport("a", "cpu", (FAIL, OPEN)), width=width, terminal=width > 26)
    assert table == [line.rstrip() for line in shown.splitlines()[: len(table)]]
