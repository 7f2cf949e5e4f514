"""The law of one subject as a page of text: formula, assumptions, terms, values, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.report.rows import printable
from oom_suite.report.screen import print_line
from oom_suite.report.wording import exact_bytes_text, law_lines, num_bytes_text, unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from fractions import Fraction

    from rich.console import Console

    from oom_suite.records.law_page import LawPage

_WIDTH = 84
_MAX_LINES = 6


def render_law(page: LawPage, console: Console) -> None:
    """Print the page."""
    for line in page_lines(page):
        print_line(console, line)


def page_lines(page: LawPage) -> tuple[str, ...]:
    """The page as lines of plain text."""
    subject = printable(page.subject)
    found = page.method or f"from {page.law.num_runs} exact runs"
    lines = [f"{subject}: workload {page.workload}, the law around scenario {page.scenario}"]
    lines.append(f"  {'how':<9}{printable(found)}")
    for label, section in page_sections(page):
        for index, text in enumerate(section):
            lines.append(f"  {label if index == 0 else '':<9}{text}".rstrip())
    return tuple(lines)


def page_sections(page: LawPage) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The labelled parts of the page, each as lines of plain text; a part may be empty."""
    sections: tuple[tuple[str, Iterable[str]], ...] = (
        ("law", _law_section(page)),
        ("assumes", _assumptions(page)),
        ("note", (printable(n) for n in page.notes if not n.startswith("reproduces "))),
        ("terms", _term_section(page)),
        ("values", _value_section(page)),
        ("fits", _limit_section(page)),
    )
    return tuple((label, tuple(lines)) for label, lines in sections)


def _law_section(page: LawPage) -> Iterator[str]:
    """The formula, one regime a line; a long one goes on below, further in."""
    law = page.law
    axes = [axis for axis in law.sizes if axis not in law.held]
    yield f"peak bytes over {', '.join(axes) or 'no axis'}"
    yield from _formula(page)
    yield from (f"+ {printable(str(term))}" for term in page.inside)


def _formula(page: LawPage) -> Iterator[str]:
    law = page.law
    if len(law.regimes) == 1:
        yield from law_lines(law.here, _WIDTH)
        return
    yield "max("
    for index, regime in enumerate(law.regimes):
        first, *rest = law_lines(regime, _WIDTH)
        comma = "," if index + 1 < len(law.regimes) else ""
        here = "   # wins at the scenario" if index == 0 and page.has_winner else ""
        lines = [f"  {first}", *(f"      {line}" for line in rest)]
        lines[-1] += comma + here
        yield from lines
    yield ")"


def _assumptions(page: LawPage) -> Iterator[str]:
    if page.assumes is not None:
        yield from (printable(text) for text in page.assumes)
        return
    law = page.law
    noted = " ".join(law.notes)
    for axis, size in law.held.items():
        if f"held at {axis}=" not in noted:
            yield f"{axis} = {size:,} (not varied)"
    yield from (printable(note) for note in law.notes)
    if not (law.held or law.notes):
        yield "nothing about the sizes"


def _term_section(page: LawPage) -> Iterator[str]:
    width = max((len(str(row.term)) for row in page.terms), default=0)
    for row in page.terms:
        yield f"{row.term!s:<{width}}  {num_bytes_text(row.num_bytes):>10}"
        unit = unit_of(row.term)
        for line, part in row.lines[:_MAX_LINES]:
            where = "no line of the code under test" if line is None else printable(str(line))
            yield f"  {_number(part)} bytes per {unit}: {where}"
        if len(row.lines) > _MAX_LINES:
            yield f"  and {len(row.lines) - _MAX_LINES} more lines"


def _value_section(page: LawPage) -> Iterator[str]:
    width = max((len(row.scenario) for row in page.values), default=0)
    for row in page.values:
        run, law = row.run_bytes, row.law_bytes
        if run is None and law is None:
            text = "cannot be run, and the law does not speak of it"
        elif run is None:
            text = f"{exact_bytes_text(law or 0)}, by the law alone"
        elif law is None or law == run:
            text = exact_bytes_text(run) + ("" if law == run else ", by a run alone")
        else:
            text = f"{exact_bytes_text(run)}, where this law says {law:,}"
        yield f"{row.scenario:<{width}}  {text}"


def _limit_section(page: LawPage) -> Iterator[str]:
    budget = printable(page.budget)
    free: dict[str, list[str]] = {}
    none: list[str] = []
    for row in page.limits:
        also = f", {printable(row.reason)}" if row.reason else ""
        if not row.is_solved:
            yield f"{row.axis} is not solved for{also}"
        elif row.largest is None:
            free.setdefault(row.reason, []).append(row.axis)
        elif row.largest == 0:
            none.append(row.axis)
        else:
            yield f"{budget} takes at most {row.largest:,} {row.axis}{also}"
    if none:
        yield f"{budget} takes not one of {', '.join(none)}: the other sizes fill it alone"
    for reason, axes in free.items():
        yield f"{budget} sets no limit to {', '.join(axes)}: {printable(reason)}"


def _number(value: Fraction) -> str:
    return f"{value.numerator:,}" if value.denominator == 1 else f"{float(value):,.10g}"
