"""Predicted against measured: one table row for each call, for a terminal or a log."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from oom_suite.records.measured_row import EXPLAINED
from oom_suite.report.measured import environment_text, unexplained_text
from oom_suite.report.rows import brief, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oom_suite.records import MeasuredRow

_MIN_PIPED_WIDTH = 160
_KINDS = ("requested", "allocated", "reserved")


def render_measured(rows: Sequence[MeasuredRow], console: Console, *, quiet: bool = False) -> None:
    """Print the figures of every row, why the others are not explained, and the counts.

    Args:
        rows: in the order to show them.
        console: where to.
        quiet: only the rows that are not explained, and the counts.
    """
    shown = [row for row in rows if not quiet or row.outcome != EXPLAINED]
    if shown:
        # Lines stay whole where nobody watches: they are for logs, and for grep.
        wide = Console(width=console.width if console.is_terminal else _MIN_PIPED_WIDTH)
        with wide.capture() as capture:
            wide.print(_table(shown))
        text = "\n".join(line.rstrip() for line in capture.get().splitlines())
        _print(console, text + "\n")
    for row in rows:
        if row.reason:
            where = f"{row.subject} {row.workload} {row.scenario}"
            _print(console, brief(f"{row.outcome}: {where}: {row.reason}"))
    for environment in dict.fromkeys(row.environment for row in rows if row.environment):
        _print(console, f"measured on {printable(environment_text(environment))}")
    counts = Counter(row.outcome for row in rows)
    _print(console, ", ".join(f"{number} {name}" for name, number in counts.items()) or "no rows")


def _table(rows: Sequence[MeasuredRow]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for name in ("subject", "workload", "scenario"):
        table.add_column(name, no_wrap=True)
    for kind in _KINDS:
        table.add_column(f"{kind}\nmeasured", justify="right", no_wrap=True)
        table.add_column("\npredicted", justify="right", no_wrap=True)
    table.add_column("unexplained", no_wrap=True)
    for row in rows:
        cells = (row.subject, row.workload, row.scenario, *_figures(row), _last(row))
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _figures(row: MeasuredRow) -> list[str]:
    found = row.reconciliation
    if found is None:
        return ["-"] * 2 * len(_KINDS)
    cells = []
    for kind in _KINDS:
        measured = None if found.measured is None else getattr(found.measured, f"{kind}_bytes")
        if kind == "requested":
            measured = found.measured_requested_bytes
        cells.append("-" if measured is None else f"{measured:,}")
        cells.append(f"{getattr(found.predicted, f'{kind}_bytes'):,}")
    return cells


def _last(row: MeasuredRow) -> str:
    if row.reconciliation is None:
        return row.outcome
    text = unexplained_text(row.reconciliation)
    return text if row.is_repeatable else f"{text}, not repeatable"


def _print(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True, highlight=False)
