"""The table of results on a terminal, and the search of a bisection."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from oom_suite.records import Verdict
from oom_suite.report.measured import measured_summary
from oom_suite.report.narrow import captured, stacked, width_of, words
from oom_suite.report.rows import brief, printable
from oom_suite.report.screen import print_line
from oom_suite.report.wording import (
    INDENT,
    LABEL_WIDTH,
    budget_text,
    closing_line,
    failure_rows,
    failure_text,
    headline,
    law_lines,
    needs_block,
    num_bytes_text,
    target_lines,
    verdict_text,
)
from oom_suite.units import KIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console

    from oom_suite.records import Result


PIPED_WIDTH = 100
# At 100 columns: 14 subject, 15 verdict, 28 law, 10 peak, 10 largest, 13 budget, 10 between them.
_VERDICT_WIDTH = 15
_LAW_WIDTH = 28
_WIDEST_LAW = 56
_NARROW_VERDICT = 13
_UNBOUNDED = 10_000
_MAX_KEPT = 3
_LITTLE_BYTES = 64 * KIB
"""Below this the table leaves out the few bytes that blocks of a reduction share."""


def render(results: Sequence[Result], console: Console, *, quiet: bool = False) -> None:
    """Print a table of the results, an explanation of each that needs one, and the counts.

    Args:
        results: in the order to show them.
        console: where to; the table keeps to its width, as of `width_of`.
        quiet: only the headlines and reasons of what is not as expected, and the counts.
    """
    if quiet:
        for result in results:
            if not result.as_expected:
                print_line(console, f"{headline(result)}: {brief(result.reason)}")
    else:
        if results:
            print_table(results, console)
            _print_measured(results, console)
        for result in results:
            if needs_block(result):
                _print_block(result, console)
    for line in target_lines(results):
        print_line(console, line)
    print_line(console, closing_line(results))


def _style(result: Result) -> str:
    if result.verdict is Verdict.INCONCLUSIVE:
        return "yellow"
    if not result.as_expected:
        return "bold red"
    return "green" if result.verdict is Verdict.PASS else "dim"


def _table(results: Sequence[Result], width: int) -> Table:
    law_width = min(_WIDEST_LAW, max(_LAW_WIDTH, width - PIPED_WIDTH + _LAW_WIDTH))
    with_budget = any(result.budget is not None for result in results)
    with_workload = len({result.workload for result in results}) > 1
    with_target = len({result.target for result in results}) > 1
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
        header_style="bold",
    )
    table.add_column("subject", overflow="fold")
    table.add_column("verdict", width=_VERDICT_WIDTH)
    table.add_column("law at the scenario", overflow="fold", width=law_width)
    table.add_column("peak", justify="right", no_wrap=True)
    table.add_column("largest", justify="right", no_wrap=True)
    if with_budget:
        table.add_column("budget", overflow="fold")
    for result in results:
        law, peak = _law_and_peak(result, law_width)
        name = Text(printable(result.subject))
        if with_workload:
            name.append(f"\n  {printable(result.workload)}", style="dim")
        if with_target:
            name.append(f"\n  {result.target}", style="dim")
        cells = [
            name,
            Text(verdict_text(result), style=_style(result)),
            Text(law),
            Text(peak),
            Text(num_bytes_text(result.largest_request_bytes)),
        ]
        table.add_row(*cells, *([Text(budget_text(result.budget))] if with_budget else []))
    return table


def _law_and_peak(result: Result, width: int) -> tuple[str, str]:
    """The device's law and peak, below it the host's, then what calls keep and what holds it."""
    laws = ["-"] if result.law is None else _folded(law_lines(result.law.here, width), width)
    peaks = [num_bytes_text(result.peak_requested_bytes)]
    named = {one.op for one in result.unseen}
    for term in result.inside:
        if term.op not in named and term.num_bytes < _LITTLE_BYTES:
            continue
        peaks += [""] * (len(laws) - len(peaks)) + [f"+ {num_bytes_text(term.num_bytes)}"]
        first, *rest = law_lines(term.at_most, width - len("+ at most "))
        laws += [f"+ at most {first}", *(f"  {line}" for line in rest)]
        laws.append(f"  inside {printable(term.op)}")
    for host in result.host:
        peaks += [""] * (len(laws) - len(peaks)) + [num_bytes_text(host.peak_requested_bytes)]
        name = "pinned: " if host.kind == "pinned" else "host: "
        first, *rest = law_lines(host.law.here, width - len(name))
        laws += [f"{name}{first}", *(f"  {line}" for line in rest)]
    for kept in result.kept[:_MAX_KEPT]:
        peaks += [""] * (len(laws) - len(peaks)) + [num_bytes_text(kept.num_bytes)]
        # Whose variable it is stands in the note; here it would not fit.
        laws.append(f"kept: {printable(kept.holder).partition(' of ')[0] or 'by what is unknown'}")
    return "\n".join(laws), "\n".join(peaks)


def _folded(lines: Iterable[str], width: int) -> list[str]:
    """The lines, one with a term that is wider than the column in several: amounts stand beside."""
    return [part for line in lines for part in textwrap.wrap(line, width, break_on_hyphens=False)]


def print_table(results: Sequence[Result], console: Console) -> None:
    """Print one row for each result, its name above it where the line has no room for both."""
    width = width_of(console, PIPED_WIDTH)
    table = _table(results, width)
    needed = Measurement.get(console, console.options.update(width=_UNBOUNDED), table).maximum
    if needed > width:
        for line in _stacked(results, width):
            console.print(line, soft_wrap=True, highlight=False)
        console.print()
        return
    if console.is_terminal:
        console.print(table)
        console.print()
        return
    lines = captured(table, console, width)
    print_line(console, "\n".join(lines) + "\n")


def _stacked(results: Sequence[Result], width: int) -> Iterator[Text]:
    with_budget = any(result.budget is not None for result in results)
    with_target = len({result.target for result in results}) > 1
    header = ["verdict", "law at the scenario", "peak", "largest"]
    header += ["budget"] if with_budget else []
    rows = []
    for result in results:
        law, peak = _law_and_peak(result, _LAW_WIDTH)
        name = f"{printable(result.subject)} ({printable(result.workload)})"
        names = [Text(f"{name}, {result.target}" if with_target else name)]
        verdict = words(verdict_text(result), _NARROW_VERDICT)
        cells = [
            [Text(line, style=_style(result)) for line in verdict],
            [Text(line) for line in law.splitlines()],
            [Text(line) for line in peak.splitlines()],
            [Text(num_bytes_text(result.largest_request_bytes))],
        ]
        if with_budget:
            budget = words(budget_text(result.budget), _NARROW_VERDICT)
            cells.append([Text(line) for line in budget])
        rows.append((names, cells))
    return stacked(header, rows, width, right={2, 3})


def _print_measured(results: Sequence[Result], console: Console) -> None:
    lines = list(measured_summary(results))
    for line in lines:
        hang = "    " if line.startswith(" ") else "  "
        for part in _broken(line, console.width, hang) if console.is_terminal else (line,):
            print_line(console, part)
    if lines:
        print_line(console, "")


def _broken(text: str, width: int, hang: str) -> list[str]:
    """The text in lines of a terminal's width, each after the first indented."""
    return textwrap.wrap(
        text, max(width, len(hang) + 1), subsequent_indent=hang, break_on_hyphens=False
    )


def _print_block(result: Result, console: Console) -> None:
    if not console.is_terminal:
        print_line(console, failure_text(result) + "\n")
        return
    console.print(Text(headline(result), style=_style(result)), highlight=False)
    alarm = "red" if not result.as_expected else "dim"
    grid = Table.grid(padding=0)
    grid.add_column(width=len(INDENT) + LABEL_WIDTH)
    grid.add_column(overflow="fold")
    for row in failure_rows(result):
        for index, line in enumerate(row.lines):
            label = Text(INDENT + row.label if index == 0 else "", style="dim")
            text = line.text
            if line.hang:
                room = console.width - len(INDENT) - LABEL_WIDTH
                text = "\n".join(_broken(text, room, " " * line.hang))
            grid.add_row(label, Text(text, style=alarm if line.guilty else ""))
    console.print(grid)
    console.print()
