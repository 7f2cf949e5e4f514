"""What was measured, in words: the figures, what explains them, where, and beside whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.report.meters import meter_lines
from oom_suite.report.rows import Line, Row, brief, printable
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oom_suite.records import (
        AllocatorPeaks,
        Environment,
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
    if not reconciliation.is_exact:
        yield f"unexplained: {unexplained_text(reconciliation)}"


def peaks_text(peaks: AllocatorPeaks) -> str:
    """The figures that are compared, to the byte, and the one that is reported."""
    return (
        f"{peaks.requested_bytes:,} requested, {peaks.allocated_bytes:,} allocated, "
        f"{peaks.reserved_bytes:,} reserved"
    )


def unexplained_text(reconciliation: Reconciliation) -> str:
    """Bytes unexplained of each kind: ``+1,024 requested, +1,024 allocated``; ``0`` for none."""
    if reconciliation.is_exact:
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
