"""What a machine says beside the prediction: the code with real tensors, at the test's sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError
from oom_suite.pipeline.reconcile import problem, reconcile, scratch_of
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.pipeline.law_tests.promise import Promise
    from oom_suite.pipeline.law_tests.runs import Runs
    from oom_suite.records import Measurement, Reconciliation, Trace

    Shadow = Callable[[Mapping[str, int]], Trace]

IS_COMPILED = "is compiled"
"""A request to the shadow lane: whether its runs entered a function that torch.compile made."""

_COMPILED = (
    "torch.compile: the law is that of the code as it is written; compiled, it may take other bytes"
)


@dataclass(frozen=True, slots=True)
class MachineSays:
    """The outcome of measuring.

    Attributes:
        agrees: whether it was measured, and equals the prediction to the byte.
        problem: why the promise cannot be green; empty when it can.
        notes: what was left out, and why.
        measurement: what the device and the machine said; None where nothing was measured.
        reconciliation: what was predicted against it.
    """

    agrees: bool = False
    problem: str = ""
    notes: tuple[str, ...] = ()
    measurement: Measurement | None = None
    reconciliation: Reconciliation | None = None


def machine_says(
    promise: Promise, runs: Runs, shadow: Shadow, device: str, *, is_compiled: bool = False
) -> MachineSays:
    """The measurement at the promise's default sizes, or why there is none.

    Raises:
        OomSuiteError: the default sizes cannot be run without memory.
    """
    if is_compiled and (device == "cpu" or not promise.measure):
        # Under a recorder compiled functions run as written: on a CPU nothing else could count.
        return MachineSays(notes=(f"{_COMPILED}, which a GPU can measure (--oom-device cuda)",))
    if not promise.measure:
        return MachineSays()
    predicted = shadow(promise.defaults)
    if device == "cpu":
        if predicted.launches:
            kernel = predicted.launches[0].kernel
            note = f"not measured on the CPU: it launches {kernel}, a GPU kernel"
            return MachineSays(notes=(note,))
        if lack := _lack(predicted.peak().num_bytes + predicted.input_bytes):
            return MachineSays(problem=f"not measured: {lack}; choose smaller sizes in axes")
    return _compared(promise, runs, predicted, device, is_compiled=is_compiled)


def _compared(
    promise: Promise, runs: Runs, predicted: Trace, device: str, *, is_compiled: bool
) -> MachineSays:
    try:
        measured: Trace = runs.ask("measure", dict(promise.defaults))
    except OomSuiteError as error:
        return MachineSays(problem=f"cannot be measured on {device}: {error}")
    assert measured.measurement is not None
    reconciled = None
    if measured.measurement.out_of_memory is None:
        scratch = scratch_of(measured.measurement.environment)
        if scratch:
            predicted = runs.ask(f"shadow {scratch}", dict(promise.defaults))
        reconciled = reconcile(predicted, measured)
    said = MachineSays(measurement=measured.measurement, reconciliation=reconciled)
    if is_compiled and reconciled is not None and reconciled.unexplained_requested_bytes < 0:
        actual_bytes, peak_bytes = reconciled.measured_requested_bytes, predicted.peak().num_bytes
        less = f"{_COMPILED}: {actual_bytes:,} measured on {device}, {peak_bytes:,} as written"
        return replace(said, notes=(less,))
    reason = problem(measured.measurement, reconciled)
    if not reason:
        return replace(said, agrees=True)
    where = f"on {device} at the sizes of axes{_suspects(predicted)} (measure=False leaves it out)"
    return replace(said, problem=f"{reason}, {where}")


def _lack(needed_bytes: int) -> str:
    import psutil

    available_bytes = psutil.virtual_memory().available
    if needed_bytes < available_bytes:
        return ""
    needed, available = format_bytes(needed_bytes), format_bytes(available_bytes)
    return f"it would take {needed}, and this machine has {available} available"


def _suspects(predicted: Trace) -> str:
    names = dict.fromkeys(unseen.op for unseen in predicted.unseen)
    return f"; {', '.join(names)} may have taken them inside" if names else ""
