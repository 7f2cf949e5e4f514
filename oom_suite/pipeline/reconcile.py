"""Sets a measured trace against the predicted one, by the allocator's own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.allocator import parse_settings, peaks_of
from oom_suite.records import Reconciliation
from oom_suite.records.trace import ALLOCATOR
from oom_suite.targets.target import TARGETS
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from oom_suite.allocator import AllocatorSettings
    from oom_suite.records import Allocation, Environment, Measurement, Tenant, Trace


def scratch_of(environment: Environment) -> str:
    """Whose kernels' own scratch a prediction for this device must have; empty for none known."""
    return "cuda" if environment.device_type == "cuda" else ""


def target_of(environment: Environment) -> str | None:
    """The target that a machine is; None for one that no target describes."""
    found = (one for one in TARGETS if one.arch and environment.arch.startswith(one.arch))
    return next((one.name for one in found), None)


def reconcile(predicted: Trace, measured: Trace, bound_bytes: int = 0) -> Reconciliation:
    """What of the measured peaks was predicted, what a library's workspace took, and the rest.

    The prediction goes through the model of the allocator, with the settings that the device's
    allocator ran under. What a workspace made inside the call adds is the measured peak less the
    peak of the same history without it.

    Args:
        predicted: the shadow lane's trace.
        measured: the measure lane's, of the same call at the same sizes.
        bound_bytes: unexplained bytes that are let pass.

    Raises:
        UsageError: the allocator's settings cannot be read.

    **Does not prove:** on a CPU, that kernels allocated nothing inside: there is no allocator to
    ask there, and dispatch counts in both lanes.
    """
    measurement = measured.measurement
    assert measurement is not None
    settings = parse_settings(measurement.environment.allocator)
    expected = peaks_of(predicted, settings)
    sure = predicted.without(lambda allocation: allocation.is_bound)
    has_bounds = len(sure.allocations) < len(predicted.allocations)
    least = peaks_of(sure, settings) if has_bounds else None
    if measurement.peaks is None:
        return Reconciliation(
            expected,
            measured.peak().num_bytes,
            bound_bytes=bound_bytes,
            is_worst_case=bool(predicted.data_sizes),
            least=least,
        )
    made = tuple(each for each in measurement.workspaces if each.in_call)
    in_call = _added(measured, settings) if made else (0, 0)
    return Reconciliation(
        predicted=expected,
        measured_requested_bytes=measurement.peaks.requested_bytes,
        measured=measurement.peaks,
        workspaces=made,
        workspaces_requested_bytes=in_call[0],
        workspaces_allocated_bytes=in_call[1],
        bound_bytes=bound_bytes,
        is_worst_case=bool(predicted.data_sizes),
        least=least,
    )


def _added(measured: Trace, settings: AllocatorSettings) -> tuple[int, int]:
    """Requested and allocated bytes that workspaces add to the peaks of a recorded history."""

    def is_workspace(allocation: Allocation) -> bool:
        return allocation.op != ALLOCATOR

    whole = peaks_of(measured, settings)
    rest = peaks_of(measured.without(is_workspace), settings)
    return (
        whole.requested_bytes - rest.requested_bytes,
        whole.allocated_bytes - rest.allocated_bytes,
    )


def problem(measurement: Measurement, reconciliation: Reconciliation | None) -> str:
    """Why a measurement cannot be relied on, in one line; empty when it can.

    Args:
        measurement: what the device said.
        reconciliation: what was predicted against it; None where the call did not run through.
    """
    failed = measurement.out_of_memory
    if failed is not None:
        return f"out of memory: {failed.message}"
    if measurement.tenants:
        return f"measured beside {_names(measurement.tenants)}, on the same device"
    if reconciliation is None or reconciliation.is_explained:
        return ""
    requested_bytes = reconciliation.unexplained_requested_bytes
    allocated_bytes = reconciliation.unexplained_allocated_bytes
    figures = [f"{requested_bytes:+,} bytes requested"]
    if allocated_bytes is not None:
        figures.append(f"{allocated_bytes:+,} allocated")
    allowed = f" (allowed: {reconciliation.bound_bytes:,})" if reconciliation.bound_bytes else ""
    what = "the prediction and named workspaces do not explain"
    if reconciliation.is_worst_case:
        what = "exceed the worst case of what data decides, and named workspaces"
    return f"{' and '.join(figures)} measured that {what}{allowed}"


def _names(tenants: tuple[Tenant, ...]) -> str:
    shown = []
    for tenant in tenants:
        held = "" if tenant.num_bytes is None else f" ({format_bytes(tenant.num_bytes)})"
        name = f" {tenant.name}" if tenant.name else ""
        shown.append(f"process {tenant.pid}{name}{held}")
    return ", ".join(shown)
