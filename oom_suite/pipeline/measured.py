"""Measures a subject's call on a device, and holds it against the prediction."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oom_suite.pipeline.children import start_child
from oom_suite.pipeline.reconcile import problem, reconcile, scratch_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oom_suite.pipeline.check import Settings
    from oom_suite.processes.child import Child
    from oom_suite.records import Measurement, Reconciliation, SubjectSpec, Trace

_turn = threading.Lock()


@dataclass(frozen=True, slots=True)
class Measured:
    """One call on a device, measured once or more.

    Attributes:
        trace: of the first run.
        measurement: what stood beside it.
        reconciliation: what was predicted against it; None where the call did not run through.
        num_runs: how often it was measured.
        problem: why it cannot be relied on, in one line; empty when it can.
    """

    trace: Trace
    measurement: Measurement
    reconciliation: Reconciliation | None
    num_runs: int
    problem: str

    @property
    def agreement(self) -> str:
        """How the device agrees with the prediction, in one clause."""
        exact = self.reconciliation is not None and self.reconciliation.is_exact
        how = "to the byte" if exact else "within the bound on unexplained bytes"
        often = f", {self.num_runs} times alike" if self.num_runs > 1 else ""
        return f"measured {how}{often}"


@contextlib.contextmanager
def measuring_child(
    spec: SubjectSpec, root: str | None, settings: Settings
) -> Iterator[Child | None]:
    """A child for the device, which imports torch while the law is found; None in other lanes."""
    if settings.lane != "measure":
        yield None
        return
    with start_child(spec, root, settings, "measure") as child:
        yield child


def measure(
    child: Child, spec: SubjectSpec, root: str | None, settings: Settings, predicted: Trace
) -> Measured:
    """The call as `settings` ask for it. Subjects take turns: one alone has the device.

    Args:
        child: from `measuring_child`; closed afterwards, for it holds memory of the device.
        spec: the subject.
        root: where its source lies, from `oom_suite.pipeline.children.source_root`.
        settings: device, sizes, repeats and limits.
        predicted: the shadow lane's trace at the same sizes.

    Raises:
        ChildError: the call ended its process, or raised.
        UsageError: the allocator's settings cannot be read.
    """
    with _turn:
        try:
            runs: list[Trace] = [child.ask(settings.sizes) for _ in range(settings.num_repeats)]
        finally:
            child.close()
    first = runs[0]
    measurement = first.measurement
    assert measurement is not None
    if measurement.out_of_memory is not None:
        return Measured(first, measurement, None, len(runs), problem(measurement, None))
    scratch = scratch_of(measurement.environment)
    if scratch:
        with start_child(spec, root, settings, "shadow", scratch) as shadow:
            predicted = shadow.ask(settings.sizes)
    reconciled = reconcile(predicted, first, settings.unexplained_bytes)
    odd = others(runs)
    found = problem(measurement, reconciled) or odd
    measurement = replace(measurement, num_runs=len(runs), is_repeatable=not odd)
    return Measured(first, measurement, reconciled, len(runs), found)


def others(runs: list[Trace]) -> str:
    """Which runs differ from the first, in one line; empty when all are equal event by event."""
    odd = [number for number, run in enumerate(runs, 1) if figures(run) != figures(runs[0])]
    if not odd:
        return ""
    more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
    return f"measured {len(runs)} times, and run {odd[0]}{more} took other bytes than the first"


def figures(run: Trace) -> tuple[object, ...]:
    """All that must repeat: every request and free with its line, peaks and workspaces."""
    said = run.measurement
    beside = () if said is None else (said.peaks, said.workspaces)
    return run.allocations, run.events, *beside
