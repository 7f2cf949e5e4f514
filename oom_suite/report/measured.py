"""Predictions against measurements: rows, a summary, and the table."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from oom_suite.records import Verdict
from oom_suite.records.measured_row import EXPLAINED
from oom_suite.report.meters import meter_lines
from oom_suite.report.narrow import captured, width_of
from oom_suite.report.rows import Line, Row, brief, printable
from oom_suite.report.screen import print_line
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from oom_suite.records import (
        AllocatorPeaks,
        Environment,
        MeasuredRow,
        Measurement,
        Reconciliation,
        Result,
        Workspace,
    )


def measured_rows(result: Result) -> Iterator[Row]:
    """The rows that a measured result has beside the others; none for another lane's."""
    measurement = result.measurement
    if measurement is None:
        return
    if result.reconciliation is not None:
        lines = tuple(Line(text) for text in reconciliation_lines(result.reconciliation))
        yield Row("measured", lines)
    if measurement.out_of_memory is not None:
        yield Row("memory", tuple(_failure_lines(measurement)))
    if measurement.workspaces:
        texts = (workspace_text(each) for each in measurement.workspaces)
        yield Row("kept", tuple(Line(printable(text)) for text in texts))
    if measurement.tenants:
        shown = (
            f"process {each.pid} {each.name}".rstrip() + _held(each.num_bytes)
            for each in measurement.tenants
        )
        yield Row("beside", tuple(Line(printable(text), guilty=True) for text in shown))
    meters = tuple(meter_lines(measurement.readings))
    if meters:
        yield Row("meters", meters)
    yield Row("device", (Line(printable(environment_text(measurement.environment))),))


def reconciliation_lines(reconciliation: Reconciliation) -> Iterator[str]:
    """The peaks measured and predicted, and what neither the model nor a workspace explains."""
    if reconciliation.measured is None:
        yield f"{reconciliation.measured_requested_bytes:,} bytes requested"
        yield f"{reconciliation.predicted.requested_bytes:,} predicted"
    else:
        yield peaks_text(reconciliation.measured)
        yield f"{peaks_text(reconciliation.predicted)} predicted"
    for workspace in reconciliation.workspaces:
        yield workspace_text(workspace)
    if reconciliation.is_within_worst_case:
        yield "within the worst case: data decides sizes"
    elif not reconciliation.is_exact:
        yield f"unexplained: {unexplained_text(reconciliation)}"


def peaks_text(peaks: AllocatorPeaks) -> str:
    """The figures that are compared, to the byte, and the one that is reported."""
    return (
        f"{peaks.requested_bytes:,} requested, {peaks.allocated_bytes:,} allocated, "
        f"{peaks.reserved_bytes:,} reserved"
    )


def unexplained_text(reconciliation: Reconciliation) -> str:
    """Bytes unexplained of each kind: ``+1,024 requested, +1,024 allocated``; ``0`` for none."""
    if reconciliation.is_exact or reconciliation.is_within_worst_case:
        return "0"
    text = f"{reconciliation.unexplained_requested_bytes:+,} requested"
    allocated_bytes = reconciliation.unexplained_allocated_bytes
    return text if allocated_bytes is None else f"{text}, {allocated_bytes:+,} allocated"


def workspace_text(workspace: Workspace) -> str:
    """Whose it is, how large, and whether the call made it."""
    when = "made in the call" if workspace.in_call else "made before the call"
    return f"{workspace.name} workspace, {format_bytes(workspace.num_bytes)}, {when}"


def environment_text(environment: Environment) -> str:
    """The fields that say something, in order."""
    driver = f"driver {environment.driver}" if environment.driver else ""
    settings = f"allocator {environment.allocator}" if environment.allocator else ""
    known = (
        environment.device or environment.device_type,
        environment.arch,
        driver,
        environment.runtime,
        f"torch {environment.torch}",
        settings,
    )
    return ", ".join(each for each in known if each)


def _failure_lines(measurement: Measurement) -> Iterator[Line]:
    failed = measurement.out_of_memory
    assert failed is not None
    yield Line(brief(failed.message), guilty=True)
    if failed.stack:
        yield Line(printable(f"at {failed.stack[0]}"), guilty=True)
    if failed.snapshot:
        yield Line(printable(f"the allocator's snapshot is in {failed.snapshot}"))


def _held(num_bytes: int | None) -> str:
    return "" if num_bytes is None else f", {format_bytes(num_bytes)}"


_MEASURE = "measure"
_EXACT = "to the byte"
_NOT_MEASURED = "not measured"


def measured_summary(results: Sequence[Result]) -> Iterator[str]:
    """One line for each place, and one for each measured pass, which is explained nowhere else.

    ``measured on NVIDIA H200, sm_90, ...: 4 of 6 to the byte, 50 times alike; not measured: a, b``

    Args:
        results: of any lane; those of other lanes are passed over, and so are all where no
            device said anything: each of them says why itself.
    """
    asked = [result for result in results if result.lane == _MEASURE]
    places: dict[Environment, list[Result]] = {}
    for result in asked:
        if result.measurement is not None:
            places.setdefault(result.measurement.environment, []).append(result)
    unmeasured = [result for result in asked if result.measurement is None]
    for place, found in places.items():
        # What never got to a device belongs to no place: it is shown once, with the first.
        listed, unmeasured = [*found, *unmeasured], []
        yield printable(f"measured on {environment_text(place)}: {_agreement(listed)}")
        passed = [one for one in found if one.verdict is Verdict.PASS and one.as_expected]
        width = max((len(printable(one.subject)) for one in passed), default=0)
        for one in passed:
            yield f"  {printable(one.subject):<{width}}  {_peaks(one)}"


def _agreement(results: Sequence[Result]) -> str:
    kinds: dict[str, list[str]] = {_EXACT: []}
    for result in results:
        kinds.setdefault(_kind(result), []).append(printable(result.subject))
    num_exact = len(kinds.pop(_EXACT))
    often = _often([result for result in results if _kind(result) == _EXACT])
    parts = [f"{num_exact} of {len(results)} {_EXACT}{often}"]
    # What was not measured is the least of news, and the longest list.
    names = sorted(kinds, key=lambda kind: kind == _NOT_MEASURED)
    return "; ".join([*parts, *(f"{kind}: {', '.join(kinds[kind])}" for kind in names)])


def _kind(result: Result) -> str:
    measurement, reconciled = result.measurement, result.reconciliation
    if measurement is not None and measurement.out_of_memory is not None:
        return "out of memory"
    if measurement is None or reconciled is None:
        return _NOT_MEASURED
    if reconciled.is_within_worst_case and not reconciled.is_exact:
        return "within the worst case"
    if not measurement.is_repeatable:
        return f"not alike in {measurement.num_runs} runs"
    if measurement.tenants:
        return "beside other processes"
    if reconciled.is_exact:
        return _EXACT
    return "within the bound" if reconciled.is_explained else "unexplained"


def _often(results: Sequence[Result]) -> str:
    counts = {one.measurement.num_runs for one in results if one.measurement is not None}
    num_runs = min(counts, default=1)
    return f", {num_runs} times alike" if num_runs > 1 else ""


def _peaks(result: Result) -> str:
    found = result.reconciliation
    if found is None:
        return "no figures"
    if found.measured is None:
        return f"{format_bytes(found.measured_requested_bytes)} requested"
    peaks = found.measured
    return (
        f"{format_bytes(peaks.requested_bytes)} requested, "
        f"{format_bytes(peaks.allocated_bytes)} allocated, "
        f"{format_bytes(peaks.reserved_bytes)} reserved"
    )


_PIPED_WIDTH = 160
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
        # Lines stay whole where nobody says how wide they may be: for logs, and for grep.
        width = width_of(console, _PIPED_WIDTH)
        lines = captured(_table(shown), console, _PIPED_WIDTH)
        if max(len(Text.from_ansi(line)) for line in lines) > width:
            lines = [line for row in shown for line in _narrow(row)]
        print_line(console, "\n".join(lines) + "\n")
    for row in rows:
        if row.reason:
            where = f"{row.subject} {row.workload} {row.scenario}"
            print_line(console, brief(f"{row.outcome}: {where}: {row.reason}"))
    for environment in dict.fromkeys(row.environment for row in rows if row.environment):
        print_line(console, f"measured on {printable(environment_text(environment))}")
    counts = Counter(row.outcome for row in rows)
    print_line(
        console, ", ".join(f"{number} {name}" for name, number in counts.items()) or "no rows"
    )


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


def _narrow(row: MeasuredRow) -> Iterator[str]:
    """A row as lines: its name and what came of it, and below it a line for each kind."""
    yield printable(f"{row.subject} {row.workload} {row.scenario}: unexplained {_last(row)}")
    figures = _figures(row)
    for kind, measured, predicted in zip(_KINDS, figures[::2], figures[1::2], strict=True):
        yield f"  {kind:<9}  {measured:>17} measured  {predicted:>17} predicted"


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
