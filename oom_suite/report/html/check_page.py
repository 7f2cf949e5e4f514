"""The page of `check --html`: the verdict, the chart, each law, the lines to blame, all results."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from oom_suite.records import Verdict
from oom_suite.report.breaches import is_guilty
from oom_suite.report.files import write_text
from oom_suite.report.html.curves import chart, curves_table, swept_axes, tones
from oom_suite.report.html.excerpts import Excerpt, Sources, excerpts
from oom_suite.report.html.page import render_page
from oom_suite.report.html.sweep import Regime, regimes_of, sweep_of
from oom_suite.report.rows import Row, brief, printable
from oom_suite.report.wording import (
    OF_NO_KIND,
    budget_text,
    closing_line,
    exact_bytes_text,
    failure_rows,
    for_target,
    num_bytes_text,
    verdict_text,
)
from oom_suite.targets.versions import environment
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from oom_suite.records import Polynomial, Result

_NO_SOURCES: Sources = MappingProxyType({})
_NUM_NAMED = 4
_SHOWN_ELSEWHERE = {"why", "law", "blame"}


@dataclass(frozen=True, slots=True)
class Term:
    """A term of a law: its text, its bytes at the scenario, its part of them in percent."""

    text: str
    amount: str
    percent: float
    guilty: bool


@dataclass(frozen=True, slots=True)
class Subject:
    """What the page shows of one result.

    Attributes:
        name: the subject.
        status: ``"pass"``, ``"bad"``, ``"known"`` or ``"unknown"``: how it is marked.
        verdict: in words.
        tone: colour of its curve.
        dash: pattern of its curve.
        has_curve: whether it is in the chart.
        reason: why this verdict.
        peak: at the scenario.
        largest: the largest request at the scenario.
        budget: whether it fits; ``-`` without a budget.
        law: the formula that wins at the scenario.
        terms: of that formula, largest first.
        regimes: all formulas, when there are several.
        notes: what must be known besides of the law.
        excerpts: the blamed lines.
        facts: all else that the terminal says.
    """

    name: str
    status: str
    verdict: str
    tone: str
    dash: str
    has_curve: bool
    reason: str
    peak: str
    largest: str
    budget: str
    law: str
    terms: tuple[Term, ...]
    regimes: tuple[Regime, ...]
    notes: tuple[str, ...]
    excerpts: tuple[Excerpt, ...]
    facts: tuple[Row, ...]


def write_check_page(
    results: Sequence[Result], path: str | Path, sources: Sources = _NO_SOURCES
) -> None:
    """Write the page of `render_check_page` to a file, whole or not at all.

    Args:
        results: in the order to show them.
        path: the file; an existing one is replaced.
        sources: the lines of the blamed files, where they are known.

    Raises:
        UsageError: the extra ``report`` is not installed, or the file cannot be written.
    """
    write_text(render_check_page(results, sources), path)


def render_check_page(results: Sequence[Result], sources: Sources = _NO_SOURCES) -> str:
    """One page that holds all it needs, as HTML.

    Args:
        results: in the order to show them.
        sources: the lines of the blamed files, where they are known.

    Raises:
        UsageError: the extra ``report`` is not installed.
    """
    drawn = chart(results)
    axes = swept_axes(results)
    subjects = tuple(
        _subject(result, axes, look, sources)
        for result, look in zip(results, tones(results), strict=True)
    )
    versions = {key: value for key, value in environment().items() if value is not None}
    context = {
        "title": verdict_sentence(results),
        "lead": _lead(results),
        "counts": closing_line(results),
        "setting": _setting(results),
        "subjects": subjects,
        "chart": None if drawn is None else drawn.to_json(),
        "curves_table": curves_table(results, drawn),
        "with_budget": any(result.budget is not None for result in results),
        "environment": versions,
    }
    return render_page("check.html", context, ("chart.js",))


def verdict_sentence(results: Sequence[Result]) -> str:
    """The outcome of all results as one sentence."""
    broken = [r for r in results if not r.as_expected and r.verdict is not Verdict.INCONCLUSIVE]
    unknown = [r for r in results if r.verdict is Verdict.INCONCLUSIVE]
    found, what = (broken, "fails") if broken else (unknown, "cannot be judged")
    if len(found) == 1:
        (one,) = found
        outcome = "passes, and is known to fail" if one.verdict is Verdict.PASS else what
        return f"{printable(one.subject)} {outcome}: {brief(one.reason)}"
    if found:
        outcome = "are not as expected" if broken else "cannot be judged"
        names = [printable(result.subject) for result in found[:_NUM_NAMED]]
        more = len(found) - len(names)
        tail = f" and {more} more" if more else ""
        return f"{len(found)} of {len(results)} subjects {outcome}: {', '.join(names)}{tail}"
    if not results:
        return "Nothing was judged"
    if len(results) == 1:
        return f"{printable(results[0].subject)} is as expected: {printable(results[0].reason)}"
    return f"All {len(results)} subjects are as expected"


def _lead(results: Sequence[Result]) -> dict[str, str] | None:
    """What the reader of a failure must know first: how much, over what, where, what next."""
    failed = [r for r in results if r.verdict is Verdict.FAIL and not r.as_expected]
    if not failed or failed[0].peak_requested_bytes is None:
        return None
    result = failed[0]
    text = f"Its peak is {exact_bytes_text(failed[0].peak_requested_bytes)} at this scenario"
    if len(failed) > 1:
        text = text.replace("Its", f"{printable(result.subject)}'s", 1)
    if result.largest_request_bytes is not None:
        text += f", with {num_bytes_text(result.largest_request_bytes)} in one request"
    fit, allocated = result.budget, result.peak_allocated_bytes
    if fit is not None and allocated is not None and allocated > fit.free_bytes:
        text += f", {format_bytes(allocated - fit.free_bytes)} over {printable(fit.name)}"
    first = next(iter(result.blame), None)
    where = "" if first is None else f"{first.file}:{first.line} ({first.function})"
    return {
        "text": f"{text}.",
        "where": printable(where),
        "next": printable(result.next_command),
    }


def _setting(results: Sequence[Result]) -> tuple[tuple[str, str], ...]:
    """What was run: workload, lane, scenario and its sizes, where all results agree on them."""
    if not results:
        return ()
    facts: dict[str, set[str]] = {}
    for result in results:
        named = {
            "workload": result.workload,
            "lane": result.lane,
            **({} if result.target == OF_NO_KIND else {"target": result.target}),
            "scenario": result.scenario,
            **{axis: f"{value:,}" for axis, value in result.sizes.items()},
        }
        for key, value in named.items():
            facts.setdefault(printable(key), set()).add(printable(value))
    return tuple((key, " / ".join(sorted(values))) for key, values in facts.items())


def _subject(
    result: Result, axes: tuple[str, ...], look: tuple[str, str], sources: Sources
) -> Subject:
    law = result.law
    return Subject(
        name=printable(f"{result.subject}{for_target(result)}"),
        status=status_of(result),
        verdict=verdict_text(result),
        tone=look[0],
        dash=look[1],
        has_curve=sweep_of(result, axes) is not None,
        reason=printable(result.reason),
        peak=num_bytes_text(result.peak_requested_bytes),
        largest=num_bytes_text(result.largest_request_bytes),
        budget=budget_text(result.budget),
        law="" if law is None else printable(str(law.here)),
        terms=() if law is None else _terms(result, law.here),
        regimes=regimes_of(result, axes) if law is not None and law.regimes[1:] else (),
        notes=() if law is None else tuple(printable(note) for note in law.notes),
        excerpts=excerpts(result, sources),
        facts=tuple(row for row in failure_rows(result) if row.label not in _SHOWN_ELSEWHERE),
    )


def status_of(result: Result) -> str:
    """How a result is marked: ``pass``, ``bad``, ``known`` or ``unknown``."""
    if result.verdict is Verdict.INCONCLUSIVE:
        return "unknown"
    if not result.as_expected:
        return "bad"
    return "pass" if result.verdict is Verdict.PASS else "known"


def _terms(result: Result, polynomial: Polynomial) -> tuple[Term, ...]:
    known = polynomial.axes <= set(result.sizes)
    total = max(1, int(polynomial(result.sizes))) if known else 1
    rows = []
    for term in polynomial.parts:
        num_bytes = int(term(result.sizes)) if known else None
        rows.append((num_bytes or 0, term, num_bytes))
    rows.sort(key=lambda row: (-row[0], str(row[1])))
    return tuple(
        Term(
            text=printable(str(term)),
            amount=num_bytes_text(num_bytes),
            percent=round(max(0.0, min(100.0, 100 * weight / total)), 1),
            guilty=is_guilty(result, polynomial, term),
        )
        for weight, term, num_bytes in rows
    )
