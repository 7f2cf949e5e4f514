"""The law of one subject as a page of text: formula, assumptions, terms, values, limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from oom_suite.report.rows import printable
from oom_suite.report.wording import exact_bytes_text, law_lines, num_bytes_text, unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from fractions import Fraction

    from rich.console import Console

    from oom_suite.records import Frame, Law, Polynomial

_WIDTH = 84
_MAX_LINES = 6


@dataclass(frozen=True, slots=True)
class TermRow:
    """A term of the scenario's formula.

    Attributes:
        term: the term.
        num_bytes: its value at the scenario; None where data decides a size in it.
        lines: the lines that make it, each with its part of the coefficient; None for what no
            line of the code under test allocated.
    """

    term: Polynomial
    num_bytes: int | None
    lines: tuple[tuple[Frame | None, Fraction], ...]


@dataclass(frozen=True, slots=True)
class ValueRow:
    """The peak at a named scenario.

    Attributes:
        scenario: its name.
        law_bytes: what the law says; None where it holds an axis at another value.
        run_bytes: what an exact run took; None where it could not be run.
    """

    scenario: str
    law_bytes: int | None
    run_bytes: int | None


@dataclass(frozen=True, slots=True)
class LimitRow:
    """The largest size of one axis that fits a budget, all others as in the scenario.

    Attributes:
        axis: the axis, or ``num_blocks`` for both pools together.
        largest: the largest that fits; 0 when none does; None when there is no limit.
        reason: why there is no limit, or what else to know of it.
        is_solved: whether the law could be asked at all; `reason` says why not.
    """

    axis: str
    largest: int | None
    reason: str = ""
    is_solved: bool = True


@dataclass(frozen=True, slots=True)
class LawPage:
    """What `oom-suite law` shows.

    Attributes:
        subject: its spelling.
        workload: the workload's name.
        scenario: the sizes that the law was found around.
        law: the law.
        elsewhere: laws found where that one does not hold, with the sizes that differ there.
        notes: what the reader must know besides, one clause each.
        terms: of the scenario's formula, the largest first.
        values: the peak at the named scenarios.
        budget: the budget's name; empty without one.
        limits: what fits the budget.
        method: how the law is known, in a clause.
        assumes: what a proved law takes for granted; None where the law is fitted.
        conditions: what the workload's own builder asks of the sizes, for the JSON.
    """

    subject: str
    workload: str
    scenario: str
    law: Law
    elsewhere: tuple[tuple[Mapping[str, int], Law], ...]
    notes: tuple[str, ...]
    terms: tuple[TermRow, ...]
    values: tuple[ValueRow, ...]
    budget: str = ""
    limits: tuple[LimitRow, ...] = ()
    method: str = ""
    assumes: tuple[str, ...] | None = None
    conditions: tuple[str, ...] = ()

    @property
    def has_winner(self) -> bool:
        """Whether the first regime is known to win: nothing in it is left to unknown data."""
        return all(row.num_bytes is not None for row in self.terms)

    def to_json(self) -> dict[str, Any]:
        """The page as JSON values."""
        return {
            "subject": self.subject,
            "workload": self.workload,
            "scenario": self.scenario,
            "sizes": dict(self.law.sizes),
            "law": _law_to_json(self.law),
            "elsewhere": [
                {"at": dict(moved), **_law_to_json(law)} for moved, law in self.elsewhere
            ],
            "method": self.method,
            "assumes": None if self.assumes is None else list(self.assumes),
            "conditions": list(self.conditions),
            "notes": list(self.notes),
            "terms": [
                {
                    "text": str(row.term),
                    "bytes": row.num_bytes,
                    "lines": [
                        {"where": None if line is None else str(line), "coefficient": str(part)}
                        for line, part in row.lines
                    ],
                }
                for row in self.terms
            ],
            "scenarios": {
                row.scenario: {"law_bytes": row.law_bytes, "run_bytes": row.run_bytes}
                for row in self.values
            },
            "budget": self.budget or None,
            "limits": {
                row.axis: {
                    "largest": row.largest,
                    "is_solved": row.is_solved,
                    "reason": row.reason,
                }
                for row in self.limits
            },
        }


def _law_to_json(law: Law) -> dict[str, Any]:
    return {
        "text": str(law),
        "regimes": [str(regime) for regime in law.regimes],
        "held": dict(law.held),
        "notes": list(law.notes),
    }


def render_law(page: LawPage, console: Console) -> None:
    """Print the page."""
    for line in page_lines(page):
        console.print(Text(line), soft_wrap=True, highlight=False)


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
