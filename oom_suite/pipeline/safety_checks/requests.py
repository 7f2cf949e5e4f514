"""What the children of a safety check are asked. No torch: the answers import it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.processes.protocol import Kept, Request
from oom_suite.records.safety import Finding
from oom_suite.safety.index_outcomes import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from oom_suite.pipeline.safety_checks.detectors import Detecting
    from oom_suite.records import SubjectSpec


@dataclass(frozen=True, slots=True)
class SafetyJob:
    """One subject to be checked.

    Attributes:
        spec: the subject.
        root: where its source tree was put, for a release; None otherwise.
        workload: the workload's name.
        device: where real tensors lie.
        arch: the GPU architecture that the code under test sees.
        interprets: whether Triton kernels run in Triton's interpreter, on the CPU.
        num_steady: steady steps of a creep run; None for as many as it takes to see what happens
            in every hundredth, and for more of them on a GPU.
        keeps_nothing: whether the subject is known to keep nothing between calls, so that its
            runs with fake tensors and with real ones may share a process.
    """

    spec: SubjectSpec
    root: Path | None
    workload: str
    device: str
    arch: str
    interprets: bool = False
    num_steady: int | None = None
    keeps_nothing: bool = False


@dataclass(frozen=True, slots=True)
class Find(Request[Finding]):
    """The finding on one property of a subject."""

    job: SafetyJob
    name: str

    def prepare(self, kept: Kept) -> None:
        """Load the subject."""
        _detecting(kept, self.job)

    def answer(self, kept: Kept) -> Finding:
        """What its detector says."""
        return _detecting(kept, self.job).find(self.name)


@dataclass(frozen=True, slots=True)
class TryCase(Request[Outcome]):
    """The outcome of one case of bad indices."""

    job: SafetyJob
    case: str

    def prepare(self, kept: Kept) -> None:
        """Load the subject."""
        _detecting(kept, self.job)

    def answer(self, kept: Kept) -> Outcome:
        """What came of it."""
        return _detecting(kept, self.job).try_case(self.case)


@dataclass(frozen=True, slots=True)
class IsGpuHealthy(Request[bool]):
    """Whether a process can still use its GPU."""

    device: str

    def answer(self, kept: Kept) -> bool:
        """Whether a kernel runs there now; always on a CPU."""
        import torch

        from oom_suite.targets.gpu_health import is_healthy

        return is_healthy(torch.device(self.device))


def _detecting(kept: Kept, job: SafetyJob) -> Detecting:
    from oom_suite.pipeline.safety_checks.detectors import Detecting

    return kept.get(job, lambda: Detecting(job))
