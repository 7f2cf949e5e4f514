"""What a device, its driver and the system said of a call, and how that fits what was predicted."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from oom_suite.records.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Environment:
    """What decides a measured figure besides the code and its sizes.

    Attributes:
        device_type: ``"cpu"``, ``"cuda"`` or ``"hip"``.
        device: the device's name, for example ``NVIDIA H200``.
        arch: its architecture, for example ``sm_90``, ``gfx942`` or ``x86_64``.
        driver: the driver's version; empty where there is none or it does not say.
        runtime: for example ``CUDA 13.0`` or ``ROCm 7.0``; empty on a CPU.
        torch: torch's version with its build, for example ``2.11.0+cu130``.
        allocator: the caching allocator's settings as text; empty for its defaults.
    """

    device_type: str
    device: str
    arch: str
    driver: str
    runtime: str
    torch: str
    allocator: str

    def differences(self, other: Environment) -> tuple[str, ...]:
        """One clause for each field that differs, for example ``driver 580.1 and 575.2``."""
        return tuple(
            f"{field.name} {mine or 'none'} and {theirs or 'none'}"
            for field in fields(self)
            if (mine := getattr(self, field.name)) != (theirs := getattr(other, field.name))
        )

    def to_json(self) -> dict[str, Any]:
        """The environment as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """``measured = predicted + named workspaces + unexplained``, for requested and allocated.

    Attributes:
        predicted: the shadow lane's trace through the model of the allocator.
        measured_requested_bytes: the measured peak of requests.
        measured: all four peaks of the device's allocator; None on a CPU, which has none.
        workspaces: what libraries made inside the call, by name.
        workspaces_requested_bytes: what these add to the measured peak of requests.
        workspaces_allocated_bytes: what these add to the measured peak of blocks.
        bound_bytes: unexplained bytes, more or less, that are let pass.
        is_worst_case: whether the prediction is what a call takes at most, because data decides
            its sizes: then less is explained, and more is not.
        least: the prediction without what kernels take inside at most; None where it has no
            such bounds. What is measured between the two is explained.
    """

    predicted: AllocatorPeaks
    measured_requested_bytes: int
    measured: AllocatorPeaks | None = None
    workspaces: tuple[Workspace, ...] = ()
    workspaces_requested_bytes: int = 0
    workspaces_allocated_bytes: int = 0
    bound_bytes: int = 0
    is_worst_case: bool = False
    least: AllocatorPeaks | None = None

    @property
    def unexplained_requested_bytes(self) -> int:
        """Requested bytes measured that are neither predicted nor a named workspace's."""
        own_bytes = self.measured_requested_bytes - self.workspaces_requested_bytes
        return _outside(own_bytes, self._least.requested_bytes, self.predicted.requested_bytes)

    @property
    def _least(self) -> AllocatorPeaks:
        """The least that is explained: nothing, where the prediction is a worst case."""
        if self.is_worst_case:
            return AllocatorPeaks(0, 0, 0, 0)
        return self.predicted if self.least is None else self.least

    @property
    def unexplained_allocated_bytes(self) -> int | None:
        """The same of allocated bytes; None where no allocator counted them."""
        if self.measured is None:
            return None
        own_bytes = self.measured.allocated_bytes - self.workspaces_allocated_bytes
        return _outside(own_bytes, self._least.allocated_bytes, self.predicted.allocated_bytes)

    @property
    def reserved_difference_bytes(self) -> int | None:
        """Reserved bytes measured above those predicted: reported, and never judged."""
        if self.measured is None:
            return None
        return self.measured.reserved_bytes - self.predicted.reserved_bytes

    @property
    def is_exact(self) -> bool:
        """Whether nothing is unexplained, and nothing of the prediction a bound or a worst case."""
        is_reached = not self.is_worst_case or (
            self.measured_requested_bytes
            == self.predicted.requested_bytes + self.workspaces_requested_bytes
        )
        return (
            is_reached
            and self.least is None
            and not (self.unexplained_requested_bytes or self.unexplained_allocated_bytes)
        )

    @property
    def is_within_worst_case(self) -> bool:
        """Whether a call took no more than the worst case that is predicted, which it may."""
        return self.is_worst_case and not (
            self.unexplained_requested_bytes or self.unexplained_allocated_bytes
        )

    @property
    def is_explained(self) -> bool:
        """Whether what is unexplained keeps to the bound, above and below."""
        unexplained = (self.unexplained_requested_bytes, self.unexplained_allocated_bytes or 0)
        return all(abs(num_bytes) <= self.bound_bytes for num_bytes in unexplained)

    def to_json(self) -> dict[str, Any]:
        """The reconciliation as JSON values, its differences among them."""
        return {
            **asdict(self),
            "unexplained_requested_bytes": self.unexplained_requested_bytes,
            "unexplained_allocated_bytes": self.unexplained_allocated_bytes,
            "reserved_difference_bytes": self.reserved_difference_bytes,
        }


def _outside(num_bytes: int, least_bytes: int, most_bytes: int) -> int:
    """How far it lies below or above what was predicted; 0 between the two."""
    return max(num_bytes - most_bytes, 0) + min(num_bytes - least_bytes, 0)


@dataclass(frozen=True, slots=True)
class AllocatorPeaks:
    """The caching allocator's four figures at their largest, the baseline subtracted.

    Attributes:
        requested_bytes: what the code asked for.
        allocated_bytes: the blocks that serve it, rounding and unsplit remainders included.
        active_bytes: the same, and blocks freed but still used by another stream.
        reserved_bytes: the segments taken from the driver.
    """

    requested_bytes: int
    allocated_bytes: int
    active_bytes: int
    reserved_bytes: int


@dataclass(frozen=True, slots=True)
class Workspace:
    """Memory that a library keeps between calls.

    Attributes:
        name: whose it is, for example ``cuBLAS``.
        num_bytes: what it asked the allocator for.
        in_call: whether the measured call made it; otherwise it was there before, from the
            warm-up, and is in no peak of the call.
    """

    name: str
    num_bytes: int
    in_call: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What one meter said of one quantity, or why it said nothing.

    Attributes:
        meter: who said it, for example ``amdsmi`` or ``psutil``.
        quantity: of what, for example ``device used, peak``.
        num_bytes: the figure; None where it was left out.
        why_not: why it was left out, in one clause; empty where there is a figure.
    """

    meter: str
    quantity: str
    num_bytes: int | None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Tenant:
    """Another process that holds memory on the device.

    Attributes:
        pid: its process id.
        num_bytes: what it holds there; None where the driver does not say.
        name: its command, where it can be read; otherwise empty.
    """

    pid: int
    num_bytes: int | None
    name: str = ""


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """A request that could not be served.

    Attributes:
        message: what torch or the system said, in one line.
        requested_bytes: the request that failed; None where the message does not say.
        free_bytes: what was free then; None where nobody says.
        stack: lines of the code under test that asked, innermost first.
        snapshot: the file that the allocator's snapshot was kept in; empty when none was.
    """

    message: str
    requested_bytes: int | None
    free_bytes: int | None
    stack: tuple[Frame, ...] = ()
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What stands beside a trace of the measure lane.

    Attributes:
        environment: where it was measured; measurements compare within one environment only.
        peaks: the allocator's own figures; None on a CPU, which has no such allocator.
        workspaces: what libraries keep on the device for the call's stream; in `peaks` only
            where the call itself made them.
        readings: what the meters beside the allocator said.
        tenants: other processes that were on the device.
        out_of_memory: the request that ended the call; None when it ran through.
        num_runs: how often the call was measured; all else is of the first run.
        is_repeatable: whether all runs were equal to the byte, event by event.
    """

    environment: Environment
    peaks: AllocatorPeaks | None = None
    workspaces: tuple[Workspace, ...] = ()
    readings: tuple[Reading, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    out_of_memory: OutOfMemory | None = None
    num_runs: int = 1
    is_repeatable: bool = True

    def to_json(self) -> dict[str, Any]:
        """The measurement as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Measurement:
        """The measurement that `to_json` wrote."""
        failed = body["out_of_memory"]
        return cls(
            environment=Environment(**body["environment"]),
            peaks=None if body["peaks"] is None else AllocatorPeaks(**body["peaks"]),
            workspaces=tuple(Workspace(**one) for one in body["workspaces"]),
            readings=tuple(Reading(**one) for one in body["readings"]),
            tenants=tuple(Tenant(**one) for one in body["tenants"]),
            out_of_memory=None
            if failed is None
            else OutOfMemory(**{**failed, "stack": tuple(Frame(**f) for f in failed["stack"])}),
            num_runs=body.get("num_runs", 1),
            is_repeatable=body.get("is_repeatable", True),
        )
