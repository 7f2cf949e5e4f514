"""A reconciliation: what was predicted of a call against what was measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oom_suite.records.measurement import AllocatorPeaks, Workspace


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
    """

    predicted: AllocatorPeaks
    measured_requested_bytes: int
    measured: AllocatorPeaks | None = None
    workspaces: tuple[Workspace, ...] = ()
    workspaces_requested_bytes: int = 0
    workspaces_allocated_bytes: int = 0
    bound_bytes: int = 0

    @property
    def unexplained_requested_bytes(self) -> int:
        """Requested bytes measured that are neither predicted nor a named workspace's."""
        explained_bytes = self.predicted.requested_bytes + self.workspaces_requested_bytes
        return self.measured_requested_bytes - explained_bytes

    @property
    def unexplained_allocated_bytes(self) -> int | None:
        """The same of allocated bytes; None where no allocator counted them."""
        if self.measured is None:
            return None
        explained_bytes = self.predicted.allocated_bytes + self.workspaces_allocated_bytes
        return self.measured.allocated_bytes - explained_bytes

    @property
    def reserved_difference_bytes(self) -> int | None:
        """Reserved bytes measured above those predicted: reported, and never judged."""
        if self.measured is None:
            return None
        return self.measured.reserved_bytes - self.predicted.reserved_bytes

    @property
    def is_exact(self) -> bool:
        """Whether nothing is unexplained."""
        return not self.unexplained_requested_bytes and not self.unexplained_allocated_bytes

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
