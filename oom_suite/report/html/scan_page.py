"""The page of `scan --html`: what was found of each workload, release by release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.records.scan import Found, ScanRow, changes, stretches
from oom_suite.report.files import write_text
from oom_suite.report.html.page import render_page
from oom_suite.report.rows import printable
from oom_suite.report.scan import WORDS, again, change_text, closing_line, span
from oom_suite.report.wording import num_bytes_text
from oom_suite.targets.versions import environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_STATUS = {
    Found.PASS: "pass",
    Found.FAIL: "bad",
    Found.INCONCLUSIVE: "unknown",
    Found.ABSENT: "absent",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One release of a line of the timeline: how it is marked, in words, its bytes."""

    status: str
    verdict: str
    peak: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the timeline: a workload's cells, one for each release."""

    workload: str
    setting: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Law:
    """A stretch of releases with one law."""

    releases: str
    status: str
    verdict: str
    place: str
    reason: str
    regimes: tuple[str, ...]
    peak: str
    by_design: tuple[tuple[str, str], ...]
    where: str
    again: str
    next: str


def write_scan_page(rows: Sequence[ScanRow], subjects: Sequence[str], path: str | Path) -> None:
    """Write the page of `render_scan_page` to a file, whole or not at all.

    Raises:
        UsageError: the extra ``report`` is not installed, or the file cannot be written.
    """
    write_text(render_scan_page(rows, subjects), path)


def render_scan_page(rows: Sequence[ScanRow], subjects: Sequence[str]) -> str:
    """One page that holds all it needs, as HTML: a timeline, every law, what changed.

    Raises:
        UsageError: the extra ``report`` is not installed.
    """
    context = {
        "title": f"Scan of {span(subjects)}",
        "counts": closing_line(rows),
        "subjects": [printable(subject) for subject in subjects],
        "lines": _lines(rows, subjects),
        "laws": _laws(rows, subjects),
        "changes": [change_text(change) for change in changes(rows, subjects)],
        "environment": {key: text for key, text in environment().items() if text is not None},
    }
    return render_page("scan.html", context)


def _lines(rows: Sequence[ScanRow], subjects: Sequence[str]) -> tuple[Line, ...]:
    known = {(row.unit.subject, row.unit.place): row for row in rows}
    return tuple(
        Line(
            workload=printable(place[0]),
            setting=printable(", ".join(place[1:])),
            cells=tuple(_cell(known.get((subject, place))) for subject in subjects),
        )
        for place in dict.fromkeys(row.unit.place for row in rows)
    )


def _cell(row: ScanRow | None) -> Cell:
    if row is None:
        return Cell("absent", "not scanned", "")
    peak = "" if row.peak_bytes is None else num_bytes_text(row.peak_bytes)
    return Cell(_STATUS[row.found], WORDS[row.found], peak)


def _laws(rows: Sequence[ScanRow], subjects: Sequence[str]) -> tuple[Law, ...]:
    return tuple(
        Law(
            releases=span(one.subjects),
            status=_STATUS[one.row.found],
            verdict=WORDS[one.row.found],
            place=", ".join(map(printable, one.place)),
            reason=printable(one.row.reason),
            regimes=tuple(map(printable, one.row.regimes)),
            peak=num_bytes_text(one.row.peak_bytes),
            by_design=tuple(
                (printable(axis), printable(why)) for axis, why in one.row.by_design.items()
            ),
            where=printable(one.row.where),
            again=again(one.row),
            next=printable(one.row.next_command),
        )
        for one in stretches(rows, subjects)
    )
