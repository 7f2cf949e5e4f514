"""Measures a program's call on a device, and holds it against the prediction."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psutil

from oom_suite.laws.judge import what_was_not_recorded
from oom_suite.pipeline.reconcile import problem, reconcile, scratch_of, target_of
from oom_suite.pipeline.worst_case import largest
from oom_suite.processes.child import ChildError, Outcome
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.pipeline.runs import Runs
    from oom_suite.pipeline.settings import Settings
    from oom_suite.records import Measurement, Reconciliation, Trace, Workload

COMPILED = (
    "torch.compile: the law is that of the code as it is written; compiled, it may take other bytes"
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One call on a device, measured once or more.

    Attributes:
        trace: of the first run; None where there was none.
        measurement: what stood beside it.
        reconciliation: what was predicted against it; None where the call did not run through.
        num_runs: how often it was measured.
        problem: why it cannot be relied on, in one line; empty when it can.
        notes: what was left out, and why.
        is_short_of_memory: whether it was not started, or did not end, for want of memory.
    """

    trace: Trace | None = None
    measurement: Measurement | None = None
    reconciliation: Reconciliation | None = None
    num_runs: int = 0
    problem: str = ""
    notes: tuple[str, ...] = ()
    is_short_of_memory: bool = False

    @property
    def agreement(self) -> str:
        """How the device agrees with the prediction, in one clause; empty where it does not."""
        if self.trace is None or self.problem or self.notes:
            return ""
        exact = self.reconciliation is not None and self.reconciliation.is_exact
        how = "to the byte" if exact else "within the bound on unexplained bytes"
        alike = " alike"
        if not exact and self.reconciliation and self.reconciliation.is_within_worst_case:
            how, alike = "within the worst case", ""
        often = f", {self.num_runs} times{alike}" if self.num_runs > 1 else ""
        return f"measured {how}{often}"


_NEEDS_A_GPU = re.compile(
    r"\bCUDA\b|\bHIP\b|_cuda_|\bcuda devices|\baccelerator\b|NVIDIA driver|dummy base class"
    r"|synchronizing all streams on device"
)
"""What torch says where code asks for a GPU that is not there, of any build.

Source: PyTorch 2.11 and 2.13 ``torch/cuda/__init__.py``, ``torch/_utils.py``,
``aten/src/ATen/Context.h``, ``torch/csrc/DeviceAccelerator.cpp`` and
``c10/core/impl/DeviceGuardImplInterface.h``.
"""


def measure(
    runs: Runs, workload: Workload, sizes: Mapping[str, int], settings: Settings
) -> Measured:
    """The call at these sizes on the settings' device.

    Where a call is too large for a CPU, it is not started: the system would kill what it runs.

    Args:
        runs: of the program.
        workload: says whether inputs take memory before the call touches them.
        sizes: the axes' values.
        settings: repeats, and what may stay unexplained.

    Raises:
        ChildError: the call ended its process, or raised.
        UsageError: the allocator's settings cannot be read.
    """
    on_cpu = _known_on_cpu(runs, sizes) if runs.device == "cpu" else None
    if on_cpu is not None and (lack := lack_of(on_cpu, workload)):
        return Measured(problem=f"not measured: {lack}", is_short_of_memory=True)
    traces = runs.measured(sizes, settings.num_repeats)
    first, num_runs = traces[0], len(traces)
    measurement = first.measurement
    assert measurement is not None
    if measurement.out_of_memory is not None:
        failed = problem(measurement, None)
        return Measured(first, measurement, None, num_runs, failed, is_short_of_memory=True)
    environment = measurement.environment
    # The law may be for another device: what is measured is held against a prediction for its own.
    target = None if settings.target == "generic" else target_of(environment)
    predicted = on_cpu or largest(runs, sizes, scratch=scratch_of(environment), target=target)
    if predicted.kept:
        predicted = _second(runs, sizes, scratch_of(environment), target)
    reconciled = reconcile(predicted, first, settings.unexplained_bytes)
    unlike = others(traces)
    measurement = replace(measurement, num_runs=num_runs, is_repeatable=not unlike)
    if predicted.is_compiled and reconciled.unexplained_requested_bytes < 0:
        actual_bytes, peak_bytes = reconciled.measured_requested_bytes, predicted.peak().num_bytes
        where = f"on {runs.device}"
        note = f"{COMPILED}: {actual_bytes:,} measured {where}, {peak_bytes:,} as written"
        return Measured(first, measurement, reconciled, num_runs, notes=(note,))
    # What data decides may be another size each time.
    unlike = "" if predicted.data_sizes else unlike
    found = problem(measurement, reconciled) or unlike or what_was_not_recorded(first.unrecorded)
    return Measured(first, measurement, reconciled, num_runs, found)


def measure_beside(runs: Runs, workload: Workload, settings: Settings) -> Measured:
    """The call at the sizes that a law's test asks for, where this machine can run it.

    What the machine cannot run is a note; what it runs and cannot explain is a problem.
    """
    sizes = settings.beside_sizes
    assert sizes is not None
    on_cpu = runs.device == "cpu"
    predicted = _known_on_cpu(runs, sizes) if on_cpu else runs.known(sizes)
    if on_cpu:
        if predicted.is_compiled:
            # Under a recorder compiled functions run as written: nothing else could count.
            return Measured(notes=(f"{COMPILED}, which a GPU can measure (--oom-device cuda)",))
        if predicted.launches:
            kernel = predicted.launches[0].kernel
            return Measured(notes=(f"not measured on the CPU: it launches {kernel}, a GPU kernel",))
    try:
        found = measure(runs, workload, sizes, settings)
    except ChildError as error:
        if on_cpu and error.outcome is Outcome.RAISED and _NEEDS_A_GPU.search(error.message):
            return Measured(notes=(f"not measured on the CPU: it needs a GPU: {error.message}",))
        return Measured(problem=f"cannot be measured on {runs.device}: {error}")
    if not found.problem or found.trace is None:
        return found
    names = ", ".join(dict.fromkeys(unseen.op for unseen in predicted.unseen))
    suspects = f"; {names} may have taken them inside" if names else ""
    where = f"on {runs.device} at the sizes of axes{suspects} (measure=False leaves it out)"
    return replace(found, problem=f"{found.problem}, {where}")


def _known_on_cpu(runs: Runs, sizes: Mapping[str, int]) -> Trace:
    """The prediction for a CPU: its own where the code runs there without memory, else the law's.

    The CPU takes kernels of its own, for attention and dropout among others.
    """
    try:
        return largest(runs, sizes, target="cpu")
    except ChildError:
        return largest(runs, sizes)


def _second(runs: Runs, sizes: Mapping[str, int], scratch: str, target: str | None) -> Trace:
    """The prediction of a call after another one, as measured calls are: what that kept is there.

    The inputs are its own.
    """
    if runs.device != "cpu":
        return runs.afresh(sizes, scratch, target=target)[1]
    try:
        return runs.afresh(sizes, target="cpu")[1]
    except ChildError:
        return runs.afresh(sizes)[1]


def lack_of(predicted: Trace, workload: Workload) -> str:
    """Why a call does not fit this machine's memory, in one clause; empty when it does."""
    needed_bytes = predicted.peak().num_bytes
    if not workload.leaves_inputs_untouched:
        needed_bytes += predicted.input_bytes
    available_bytes = psutil.virtual_memory().available
    if needed_bytes < available_bytes:
        return ""
    needed, available = format_bytes(needed_bytes), format_bytes(available_bytes)
    return (
        f"it would take {needed}, and this machine has {available} available; choose smaller sizes"
    )


def others(runs: Sequence[Trace]) -> str:
    """Which runs differ from the first, in one line; empty when all are equal event by event."""
    unlike = [number for number, run in enumerate(runs, 1) if figures(run) != figures(runs[0])]
    if not unlike:
        return ""
    more = f" and {len(unlike) - 1} more" if len(unlike) > 1 else ""
    return f"measured {len(runs)} times, and run {unlike[0]}{more} took other bytes than the first"


def figures(run: Trace) -> tuple[object, ...]:
    """All that must repeat: every request and free with its line, peaks and workspaces."""
    measurement = run.measurement
    beside = () if measurement is None else (measurement.peaks, measurement.workspaces)
    return run.allocations, run.events, *beside
