"""A conformance run on a terminal: a table by operator, and a line for each call that is wrong."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

from oom_suite.records.conformance import Status
from oom_suite.report.rows import printable

if TYPE_CHECKING:
    from rich.console import Console

    from oom_suite.records.conformance import Conformance, ConformanceRow

_SHOWN = (
    Status.EXACT,
    Status.BOUNDED,
    Status.NAMED,
    Status.REFUSED,
    Status.WRONG,
    Status.NOT_RUN,
)
_REASON_LENGTH = 160
_MAX_REASONS = 12


def render_conformance(found: Conformance, console: Console) -> None:
    """Write it for a reader: units that are exact throughout are counted and not listed."""
    console.print(_table(found))
    for row in found.wrong:
        _print(console, wrong_text(row))
    for status in (Status.REFUSED, Status.NOT_RUN):
        for reason, number in _reasons(found, status).most_common(_MAX_REASONS):
            _print(console, f"{status.value} {number:,}: {reason}")
    if found.left_out:
        _print(console, f"left out for lack of time: {len(found.left_out):,} units")
    for text in (*_models(found), summary(found)):
        _print(console, text)


def summary(found: Conformance) -> str:
    """The last line: what the run shows."""
    counts = found.counts()
    num_run = found.num_compared
    parts = [f"{counts[Status.WRONG]:,} wrong of {num_run:,} calls"]
    if num_run:
        parts.append(f"{counts[Status.EXACT] / num_run:.1%} exact")
        parts.append(f"{counts[Status.REFUSED] / num_run:.1%} refused")
    if by_data := found.bounded(by_data=True):
        parts.append(f"in {len(by_data):,} of the bounded data decides")
    if spared := len(found.spared):
        parts.append(f"in {spared:,} of the exact a library took no workspace")
    widest = found.widest
    if widest is not None and widest.error is not None:
        parts.append(f"widest bound {1 + widest.error:.2f} times what was taken ({widest.key})")
    where = f"{found.target} on {found.device}, torch {found.torch}"
    if found.predicted_by:
        where += f", predicted by torch {found.predicted_by}"
    return f"{found.verdict.value} {where}: {', '.join(parts)}, {found.elapsed_s:.0f} s"


def wrong_text(row: ConformanceRow) -> str:
    """The line for a call that was off without a word."""
    least, most, measured = row.least_bytes, row.most_bytes, row.measured_bytes
    assert least is not None
    assert most is not None
    assert measured is not None
    predicted = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    off = measured - most if measured > most else measured - least
    return f"WRONG {row.key}: {predicted} bytes predicted, {measured:,} measured ({off:+,})"


def _table(found: Conformance) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for name in ("suite", "operator"):
        table.add_column(name)
    for status in _SHOWN:
        table.add_column(status.value, justify="right")
    for suite in found.suites:
        by_unit: dict[str, Counter[Status]] = {}
        for row in found.rows:
            if row.suite == suite:
                by_unit.setdefault(row.name, Counter())[row.status] += 1
        quiet = {Status.EXACT, Status.NOT_RUN}
        for name, counts in by_unit.items():
            if counts.keys() - quiet:
                table.add_row(suite, escape(name), *_cells(counts))
        exact = sum(bool(c[Status.EXACT]) and not c.keys() - quiet for c in by_unit.values())
        rest = f"{exact:,} exact throughout, {len(by_unit):,} in all"
        table.add_row(suite, rest, *_cells(found.counts(suite)), end_section=True)
    return table


def _cells(counts: Counter[Status]) -> list[str]:
    return [f"{counts[status]:,}" if counts[status] else "" for status in _SHOWN]


def _reasons(found: Conformance, status: Status) -> Counter[str]:
    return Counter(
        printable(row.reason)[:_REASON_LENGTH] for row in found.rows if row.status is status
    )


def _models(found: Conformance) -> list[str]:
    """How far the suite and torch's MemTracker were off on whole models."""
    rows = [row for row in found.rows if row.suite == "models"]
    lines = []
    for who, errors in (
        ("oom-suite", [row.error for row in rows]),
        ("torch's MemTracker", [row.tracker_error for row in rows]),
    ):
        known = [abs(error) for error in errors if error is not None]
        if known:
            mean, worst = sum(known) / len(known), max(known)
            lines.append(f"models: {who} is {mean:.2%} off on average, {worst:.2%} at worst")
    return lines


def _print(console: Console, text: str) -> None:
    console.print(escape(printable(text)), highlight=False, soft_wrap=not console.is_terminal)
