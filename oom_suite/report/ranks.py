"""A group of ranks for a person at a terminal: a row for each rank, and what the group is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from oom_suite.records import Verdict
from oom_suite.report.narrow import captured, width_of
from oom_suite.report.rows import brief, printable
from oom_suite.report.screen import print_line
from oom_suite.report.wording import failure_text, num_bytes_text, verdict_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from oom_suite.records.ranks import GroupResult, RankResult

_COLUMNS = ("rank", "device", "heads", "requested", "allocated", "reserved", "verdict")
_PIPED_WIDTH = 120
_NUMBERS = frozenset({"rank", "heads", "requested", "allocated", "reserved"})


def render_ranks(groups: Sequence[GroupResult], heads: str, console: Console) -> None:
    """Print for each subject its ranks, its law and the group's verdict."""
    print_line(console, f"{len(groups[0].ranks)} ranks: {heads}" if groups else "nothing judged")
    for group in groups:
        worst = group.worst.result
        print_line(
            console, f"\n{printable(group.subject)}: workload {worst.workload}, lane {worst.lane}"
        )
        lines = captured(_table(group), console, _PIPED_WIDTH)
        if max(len(Text.from_ansi(line)) for line in lines) > width_of(console, _PIPED_WIDTH):
            lines = [line for one in group.ranks for line in _narrow(one)]
        print_line(console, "\n".join(lines))
        if worst.law is not None:
            print_line(console, f"law of rank {group.worst.rank}: {worst.law.here}")
        print_line(console, group_line(group))
        if worst.verdict is Verdict.FAIL and not worst.as_expected:
            print_line(console, "\n" + failure_text(worst))


def group_line(group: GroupResult) -> str:
    """The group's verdict in one line: ``FAIL streaming, by rank 1: peak grows with ...``."""
    worst = group.worst
    reason = brief(worst.result.reason).removeprefix(f"rank {worst.rank}: ")
    return (
        f"{verdict_text(worst.result)} {printable(group.subject)}, by rank {worst.rank}: {reason}"
    )


def _table(group: GroupResult) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True)
    for one in group.ranks:
        sizes = (one.requested_bytes, one.allocated_bytes, one.reserved_bytes)
        cells = [str(one.rank), printable(one.device), str(one.num_heads)]
        cells += [num_bytes_text(size) for size in sizes]
        table.add_row(*(Text(cell) for cell in (*cells, verdict_text(one.result))))
    return table


def _narrow(one: RankResult) -> Iterator[str]:
    """A rank as two lines: what came of it, and its figures."""
    yield f"rank {one.rank} on {printable(one.device)}: {verdict_text(one.result)}"
    sizes = (one.requested_bytes, one.allocated_bytes, one.reserved_bytes)
    figures = zip(sizes, ("requested", "allocated", "reserved"), strict=True)
    told = ", ".join(f"{num_bytes_text(size)} {kind}" for size, kind in figures)
    yield f"  {one.num_heads} heads; {told}"
