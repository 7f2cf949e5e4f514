"""The page of `law --html`: the chart of one law, its formulas, terms, values, what fits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oom_suite.report.breaches import is_guilty
from oom_suite.report.files import write_text
from oom_suite.report.html.check_page import status_of
from oom_suite.report.html.curves import chart, curves_table, swept_axes
from oom_suite.report.html.page import render_page
from oom_suite.report.html.sweep import regimes_of, sweep_of
from oom_suite.report.law_page import page_sections
from oom_suite.report.rows import printable
from oom_suite.report.wording import exact_bytes_text, num_bytes_text, unit_of, verdict_text
from oom_suite.targets.versions import environment

if TYPE_CHECKING:
    from pathlib import Path

    from oom_suite.records import Result
    from oom_suite.records.law_page import LawPage

_SHOWN_ELSEWHERE = {"law", "terms"}
_TITLES = {
    "how": "How the law is known",
    "assumes": "What it assumes",
    "note": "Notes",
    "values": "Peak at the named scenarios",
    "fits": "What fits the budget",
}


@dataclass(frozen=True, slots=True)
class Term:
    """A term of the formula that wins at the scenario.

    Attributes:
        text: the term.
        amount: its bytes at the scenario.
        percent: its part of the peak.
        guilty: whether it holds an axis that the contract forbids.
        lines: those that make it, each with its bytes.
    """

    text: str
    amount: str
    percent: float
    guilty: bool
    lines: tuple[str, ...]


def write_law_page(page: LawPage, result: Result, path: str | Path) -> None:
    """Write the page of `render_law_page` to a file, whole or not at all.

    Raises:
        UsageError: the extra ``report`` is not installed, or the file cannot be written.
    """
    write_text(render_law_page(page, result), path)


def render_law_page(page: LawPage, result: Result) -> str:
    """One page that holds all it needs, as HTML.

    Args:
        page: what `oom-suite law` shows.
        result: the verdict on the same subject; its law is drawn where the page's own has
            sizes that data decides.

    Raises:
        UsageError: the extra ``report`` is not installed.
    """
    shown = replace(result, law=page.law, sizes={**result.sizes, **page.law.sizes})
    axes = swept_axes([shown])
    curve = shown if sweep_of(shown, axes) is not None else result
    drawn = chart([curve])
    known = all(row.num_bytes is not None for row in page.terms)
    peak = result.peak_requested_bytes
    context = {
        "title": f"The law of {printable(page.subject)}",
        "peak": "" if peak is None else exact_bytes_text(peak),
        "status": status_of(result),
        "verdict": verdict_text(result),
        "reason": printable(result.reason),
        "setting": _setting(page, shown),
        "axes": [printable(axis) for axis in page.law.sizes if axis not in page.law.held],
        "regimes": regimes_of(shown, axes),
        "has_ranges": curve is shown and drawn is not None,
        "has_winner": known,
        "elsewhere": _elsewhere(page),
        "terms": _terms(page, result),
        "sections": [
            (_TITLES.get(label, label), lines)
            for label, lines in page_sections(page)
            if lines and label not in _SHOWN_ELSEWHERE
        ],
        "chart": None if drawn is None else drawn.to_json(),
        "is_fitted": curve is not shown,
        "curves_table": curves_table([curve], drawn),
        "environment": {key: text for key, text in environment().items() if text is not None},
    }
    return render_page("law.html", context, ("chart.js",))


def _setting(page: LawPage, shown: Result) -> tuple[tuple[str, str], ...]:
    sizes = {axis: f"{size:,}" for axis, size in shown.sizes.items()}
    facts = {"workload": page.workload, "scenario": page.scenario, **sizes}
    return tuple((printable(key), printable(text)) for key, text in facts.items())


def _elsewhere(page: LawPage) -> tuple[tuple[str, str], ...]:
    """Where another law holds, and which."""
    return tuple(
        (
            printable(", ".join(f"{axis} = {size:,}" for axis, size in moved.items())),
            printable(str(law)),
        )
        for moved, law in page.elsewhere
    )


def _terms(page: LawPage, result: Result) -> tuple[Term, ...]:
    total = max(1, sum(row.num_bytes or 0 for row in page.terms))
    rows = []
    for row in page.terms:
        unit = unit_of(row.term)
        lines = tuple(
            f"{float(part):,.10g} bytes per {unit}: "
            + ("no line of the code under test" if line is None else str(line))
            for line, part in row.lines
        )
        rows.append(
            Term(
                text=printable(str(row.term)),
                amount=num_bytes_text(row.num_bytes),
                percent=round(max(0.0, min(100.0, 100 * (row.num_bytes or 0) / total)), 1),
                guilty=is_guilty(result, None, row.term),
                lines=tuple(printable(line) for line in lines),
            )
        )
    return tuple(rows)
