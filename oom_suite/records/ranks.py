"""What the ranks of a tensor-parallel group say of one subject, and the worst of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.records.result import Verdict

if TYPE_CHECKING:
    from oom_suite.records.measurement import AllocatorPeaks
    from oom_suite.records.result import Result


@dataclass(frozen=True, slots=True)
class RankResult:
    """One rank's result.

    Attributes:
        rank: its number in the group.
        device: where it measured, for example ``NVIDIA H200 (CUDA_VISIBLE_DEVICES=2)``.
        num_heads: the heads that it took.
        result: its result; `Verdict.INCONCLUSIVE` where the rank did not answer.
    """

    rank: int
    device: str
    num_heads: int
    result: Result

    @property
    def severity(self) -> tuple[int, int]:
        """How bad it is, the larger the worse: the verdict, and within one the allocated peak."""
        if self.result.verdict is Verdict.INCONCLUSIVE:
            kind = 2
        elif not self.result.as_expected:
            kind = 3
        else:
            kind = int(self.result.verdict is Verdict.FAIL)
        return kind, self.allocated_bytes or 0

    @property
    def requested_bytes(self) -> int | None:
        """Largest live sum of requests: the device's own figure where it has one."""
        peaks = self._peaks
        return self.result.peak_requested_bytes if peaks is None else peaks.requested_bytes

    @property
    def allocated_bytes(self) -> int | None:
        """Largest sum of the blocks that serve them: the device's figure where it has one."""
        peaks = self._peaks
        return self.result.peak_allocated_bytes if peaks is None else peaks.allocated_bytes

    @property
    def reserved_bytes(self) -> int | None:
        """What the allocator took from the driver, at the most; None on a CPU, which has none."""
        return None if self._peaks is None else self._peaks.reserved_bytes

    @property
    def _peaks(self) -> AllocatorPeaks | None:
        measurement = self.result.measurement
        return None if measurement is None else measurement.peaks

    def to_json(self) -> dict[str, Any]:
        """The rank's result as JSON values."""
        return {
            "rank": self.rank,
            "device": self.device,
            "num_heads": self.num_heads,
            "result": self.result.to_json(),
        }


@dataclass(frozen=True, slots=True)
class GroupResult:
    """The results of all ranks for one subject.

    Attributes:
        subject: its spelling.
        ranks: one for each rank, in their order; never empty.
    """

    subject: str
    ranks: tuple[RankResult, ...]

    @property
    def worst(self) -> RankResult:
        """The rank that the group is judged by.

        A contract broken anywhere, then a rank that could not be judged, then the largest
        allocated peak; the first of equals.
        """
        return max(self.ranks, key=lambda one: one.severity)

    @property
    def verdict(self) -> Verdict:
        """The group's verdict: its worst rank's."""
        return self.worst.result.verdict

    def to_json(self) -> dict[str, Any]:
        """The group's results as JSON values."""
        return {
            "subject": self.subject,
            "verdict": self.verdict.value,
            "worst_rank": self.worst.rank,
            "ranks": [one.to_json() for one in self.ranks],
        }
