"""Runs in a fork of a process that has made none: they meet nothing that others have left.

Importing this imports no torch, as of `oom_suite.pipeline.programs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.errors import LaneError
from oom_suite.pipeline.programs import ready
from oom_suite.processes.protocol import Answer, Kept, Request
from oom_suite.records import Trace
from oom_suite.records.kept import RepeatedCalls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.pipeline.programs import Program
    from oom_suite.tracing.lane_spec import LaneSpec

_FORK_S = 600.0
"""Seconds that a fork may take; the child's own limit is what a user sets."""

_NO_BACKWARD = "Autograd-and-Fork"
"""In torch's error of a backward pass in a fork of a process that has run one already."""


@dataclass(frozen=True, slots=True)
class RunAfresh(Request[tuple[Trace, ...]]):
    """Calls as a process makes them that has just started: in a fork of one that made none."""

    program: Program
    lane: LaneSpec
    sizes: Mapping[str, int]
    num_calls: int = 2

    def prepare(self, kept: Kept) -> None:
        """Load the program."""
        ready(kept, self.program, self.lane)

    def answer(self, kept: Kept) -> tuple[Trace, ...]:
        """A trace of each call."""
        lane, loaded = ready(kept, self.program, self.lane)
        return _apart(
            lambda: tuple(lane.run(loaded.build, self.sizes) for _ in range(self.num_calls))
        )


@dataclass(frozen=True, slots=True)
class Repeat(Request[RepeatedCalls]):
    """Calls at the same sizes, in a fork of a process that has made none."""

    program: Program
    lane: LaneSpec
    sizes: Mapping[str, int]

    def prepare(self, kept: Kept) -> None:
        """Load the program."""
        ready(kept, self.program, self.lane)

    def answer(self, kept: Kept) -> RepeatedCalls:
        """What they leave alive."""
        lane, loaded = ready(kept, self.program, self.lane)
        return _apart(lambda: lane.repeat(loaded.build, self.sizes))


def _apart(work: Callable[[], Answer]) -> Answer:
    """What `work` returns in a fork; here, where a fork can run no backward pass any more."""
    from oom_suite.safety.fake_isolation import in_fork

    try:
        return in_fork(work, _FORK_S)
    except LaneError as error:
        if _NO_BACKWARD not in str(error):
            raise
    return work()
