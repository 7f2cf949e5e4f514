"""A benchmark on a terminal: times and memory of every subject, shape by shape, in one table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from oom_suite.errors import UsageError
from oom_suite.records.bench import EVENTS, Bench
from oom_suite.report.narrow import captured, width_of
from oom_suite.report.rows import printable
from oom_suite.report.screen import print_line
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

    from oom_suite.records.bench import BenchRow, Timing

SLOWER = 1.1
"""How many times as long a call may take as before: two runs on one device differ by less."""
_WIDTH = 110


def render_bench(found: Bench, console: Console) -> None:
    """Write it for a reader: a table for each part, then what was not timed."""
    tables: dict[str, list[BenchRow]] = {}
    for row in found.rows:
        tables.setdefault(row.shape.table, []).append(row)
    copy_gb_per_s = None if found.device is None else found.device.copy_gb_per_s
    for title, rows in tables.items():
        print_line(console, f"{title}:")
        table = _table(rows, copy_gb_per_s)
        for line in captured(table, console, width_of(console, _WIDTH)):
            print_line(console, printable(line))
    for line in (*_notes(found), *device_lines(found)):
        print_line(console, printable(line))


def _table(rows: list[BenchRow], copy_gb_per_s: float | None) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("shape", "subject"):
        table.add_column(name, overflow="fold")
    for name in ("us", "scratch", f"times {rows[0].timings[0].subject}", "of the copy"):
        table.add_column(name, justify="right")
    for row in rows:
        first = row.timings[0]
        for timing in row.timings:
            shape = row.shape.name if timing is first else ""
            table.add_row(shape, printable(timing.subject), *_figures(timing, first, copy_gb_per_s))
    return table


def _figures(timing: Timing, first: Timing, copy_gb_per_s: float | None) -> Iterator[str]:
    """Microseconds, scratch, how many times the first subject's time, share of the bandwidth."""
    took, scratch_bytes = timing.elapsed_us, timing.scratch_bytes
    mark = " *" if timing.how == EVENTS else ""
    yield f"{took:,.1f}{mark}" if took is not None else "-"
    yield "-" if scratch_bytes is None else format_bytes(scratch_bytes) if scratch_bytes else "none"
    yield f"{took / first.elapsed_us:.2f}" if took and first.elapsed_us else "-"
    rate = timing.gb_per_s
    yield f"{rate / copy_gb_per_s:.0%}" if rate and copy_gb_per_s else "-"


def _notes(found: Bench) -> Iterator[str]:
    """What was not timed, and what was without a graph, each with why; equal ones once."""
    for subject, why in found.absent.items():
        yield f"not timed: {subject}: {why}"
    timings = [(row.shape.name, one) for row in found.rows for one in row.timings if one.note]
    told: dict[tuple[str, str], list[str]] = {}
    for shape, one in timings:
        star = "* " if one.how == EVENTS else ""
        told.setdefault((f"{star}{one.subject}", one.note), []).append(shape)
    for (subject, note), shapes in told.items():
        where = f"{shapes[0]} and {len(shapes) - 1} more" if len(shapes) > 1 else shapes[0]
        yield f"{subject}: {note} ({where})"


def device_lines(found: Bench) -> Iterator[str]:
    """The device and how the times were taken."""
    if found.device is None:
        return
    one = found.device
    yield (
        f"{one.name}, torch {one.torch}: a copy of 2 GiB moves {one.copy_gb_per_s:,.0f} GB/s; "
        f"inputs rotate past twice the last cache ({format_bytes(one.l2_bytes)})"
    )


def read_bench(path: Path) -> Bench:
    """What an earlier run wrote.

    Raises:
        UsageError: the file cannot be read, or is none of `oom-suite bench --json`.
    """
    try:
        return Bench.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(f"--compare {path}: {why}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"--compare {path} is no file of `oom-suite bench --json`"
        raise UsageError(msg) from error


def refuse_other_device(before: Bench, found: Bench) -> None:
    """Nothing, where both ran on devices of one name.

    Raises:
        UsageError: they did not.
    """
    names = [one.device.name if one.device else "no device" for one in (before, found)]
    if names[0] != names[1]:
        msg = f"--compare: the file is of {names[0]}, and this is {names[1]}"
        raise UsageError(f"{msg}: compare runs on one kind of device")


def worse_lines(before: Bench, found: Bench) -> Iterator[str]:
    """A line for each subject and shape that got slower by a tenth, takes more, or fails now."""
    known = {(row.shape.name, one.subject): one for row in before.rows for one in row.timings}
    for row in found.rows:
        for one in row.timings:
            old = known.get((row.shape.name, one.subject))
            if old is not None and (worse := _worse(old, one)):
                yield f"worse: {one.subject} at {row.shape.name}: {worse}"


def _worse(old: Timing, new: Timing) -> str:
    if old.elapsed_us is None:
        return ""
    if new.elapsed_us is None:
        return f"not timed, was {old.elapsed_us:,.1f} us ({new.note})"
    said = []
    if new.how == old.how and new.elapsed_us > SLOWER * old.elapsed_us:
        said.append(f"{new.elapsed_us:,.1f} us, was {old.elapsed_us:,.1f}")
    if (new.scratch_bytes or 0) > (old.scratch_bytes or 0):
        said.append(f"{new.scratch_bytes:,} bytes of scratch, was {old.scratch_bytes:,}")
    return "; ".join(said)
