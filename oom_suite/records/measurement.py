"""A measurement: what the device, its driver and the operating system said of one call."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.records.environment import Environment
from oom_suite.records.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Mapping


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
