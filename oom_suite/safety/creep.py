"""Does memory grow from step to step?

Decode steps in one session: batches fall and rise, block tables are reshuffled, contexts grow.
First a warm-up that meets every shape twice; then steps with ever longer contexts; then a long
steady stretch of known shapes, after which no more may be alive than before it. The requests are
fed to the modelled caching allocator, and the last cycle again and again, until its free blocks are
where they were a cycle before: then no number of further steps changes anything.

A workspace that is made on the first call, or that doubles until it is large enough, is healthy.
So is a cache with an entry for each batch size, as a server has a largest batch. One with an entry
for each context length is a breach: its entries outgrow every pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from oom_suite.errors import LaneError, OomSuiteError, line_of
from oom_suite.records import Verdict
from oom_suite.records.kept import HOST, MEMORIES, PINNED, steps_of
from oom_suite.records.safety import Finding, Hit
from oom_suite.safety.creep_judge import counted_growth, growth, judge
from oom_suite.safety.creep_run import CreepRun, real_run, shadow_run
from oom_suite.safety.creep_steps import NUM_STEADY, ModelledSteps
from oom_suite.safety.fake_isolation import in_fork
from oom_suite.units import format_bytes
from oom_suite.workloads.variants import CYCLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.safety.fake_isolation import Runs
    from oom_suite.safety.steps import Target

    LaunchHook = Callable[[str, list[object]], None]

NOT_PROVED = (
    "What changes only after more steps than were run; host memory that is not a tensor's; what "
    "libraries keep outside the caching allocator"
)
NUM_STEADY_ON_GPU = 300
_NUM_SHORT = CYCLE
"""Steady steps of a session beside another one that runs all of them."""
_TIME_LIMIT_S = 300.0


def _no_hook(hook: LaunchHook) -> None:
    """Launches of placeholder kernels stay errors."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What one session showed.

    Attributes:
        how: ``shadow`` or the device.
        hits: the breaches.
        num_run: steps that were run.
        num_repeated: further steps that the modelled allocator did.
        is_periodic: whether any number of further steps would change nothing.
        allocated_bytes: after the last step, without inputs.
        reserved_bytes: the same.
    """

    how: str
    hits: tuple[Hit, ...]
    num_run: int
    num_repeated: int
    is_periodic: bool
    allocated_bytes: int
    reserved_bytes: int

    @property
    def text(self) -> str:
        """What it showed, in one line."""
        if self.hits:
            at = f" at {self.hits[0].frame}" if self.hits[0].frame else ""
            return f"{self.hits[0].text}{at}"
        further = "any number of further ones" if self.is_periodic else f"{self.num_repeated} more"
        return (
            f"allocated flat at {format_bytes(self.allocated_bytes)} and reserved at "
            f"{format_bytes(self.reserved_bytes)} over {self.num_run} steps ({self.how}) and "
            f"{further}"
        )


@dataclass(frozen=True, slots=True)
class Failed:
    """A session that could not be run."""

    how: str
    text: str


class Creep:
    """The detector of memory that grows from step to step.

    Args:
        set_launch_hook: given what is to hear of launches of kernels that are placeholders,
            where Triton is not installed.
        num_steady: steady steps that are run; what happens once in so many calls is seen. None
            for `NUM_STEADY`, and for `NUM_STEADY_ON_GPU` where real steps cost little.
        runs: how what needs no GPU is run.

    Does not prove: what `NOT_PROVED` says.
    """

    name = "creep"
    needs: tuple[str, ...] = ()

    def __init__(
        self,
        set_launch_hook: Callable[[LaunchHook], object] = _no_hook,
        num_steady: int | None = None,
        runs: Runs = in_fork,
    ) -> None:
        self._set_launch_hook = set_launch_hook
        self._num_steady = num_steady
        self._runs = runs

    def __call__(self, target: Target) -> Finding:
        """The verdict of two sessions: fake tensors at full sizes, and real ones."""
        if target.device.type == "cpu":
            return self._on_cpu(target)
        shadow = _tried(
            "shadow", lambda: self._runs(lambda: self.in_shadow(target, _NUM_SHORT), _TIME_LIMIT_S)
        )
        real = _tried(target.device.type, lambda: self.on_device(target))
        return _finding((shadow, real), needed=(shadow, real))

    def _on_cpu(self, target: Target) -> Finding:
        """The verdict of many real steps, which are faster here, and of a few fake ones."""
        real = _tried("cpu", lambda: self._runs(lambda: self.on_device(target), _TIME_LIMIT_S))
        if isinstance(real, Judged) and real.hits:
            return _finding((real,), needed=(real,))
        num_steady = _NUM_SHORT if isinstance(real, Judged) else self._num_steady or NUM_STEADY
        shadow = _tried(
            "shadow", lambda: self._runs(lambda: self.in_shadow(target, num_steady), _TIME_LIMIT_S)
        )
        # Code for GPUs alone has no real run here, and shadow has run all of its steps.
        needed = (shadow,) if isinstance(shadow, Judged) else (real,)
        return _finding((shadow, real), needed)

    def in_shadow(self, target: Target, num_steady: int) -> Judged:
        """What fake tensors show.

        Raises:
            LaneError: a step needs a value that exists only on a device.
        """
        # Beside a short session there are real steps, which had the longer contexts.
        grows = num_steady > _NUM_SHORT
        run = shadow_run(target, num_steady, self._set_launch_hook, grows=grows)
        return judged(run, "shadow")

    def on_device(self, target: Target) -> Judged:
        """What real tensors show."""
        usual = NUM_STEADY if target.device.type == "cpu" else NUM_STEADY_ON_GPU
        return judged(real_run(target, self._num_steady or usual), target.device.type)


def judged(run: CreepRun, how: str) -> Judged:
    """What a session showed, by its trace and, where there are some, a GPU's counters.

    Raises:
        LaneError: nothing grows in what was recorded, and not all was.
    """
    parts = steps_of(run.trace)
    modelled = ModelledSteps(run.trace, parts)
    states = modelled.states()
    # The last part is the garbage collection's.
    repeated = modelled.repeat(parts[-1 - CYCLE : -1])
    hits = judge(run.steps, states, run.trace, repeated)
    for name, trace in ((MEMORIES[HOST], run.trace.host), (MEMORIES[PINNED], run.trace.pinned)):
        if trace is not None and trace.allocations:
            on_host = ModelledSteps(trace, steps_of(trace)).states()
            hits += growth(run.steps, on_host, trace, f"{name}: ")
    if run.counted and not hits:
        hits = counted_growth(run.steps, run.counted)
    if run.trace.unrecorded and not hits:
        raise LaneError("; ".join(run.trace.unrecorded))
    last = run.counted[-1] if run.counted else states[-1]
    return Judged(
        how=how,
        hits=hits,
        num_run=len(run.steps),
        num_repeated=repeated.num_steps,
        is_periodic=repeated.is_periodic,
        allocated_bytes=last.allocated_bytes,
        reserved_bytes=last.reserved_bytes,
    )


def _finding(sessions: tuple[Judged | Failed, ...], needed: tuple[Judged | Failed, ...]) -> Finding:
    """FAIL for a breach in any session; PASS only where all that are needed have run."""
    facts = tuple((one.how, one.text) for one in sessions)
    runs = [one for one in sessions if isinstance(one, Judged)]
    worst = next((one for one in runs if one.hits), None)
    if worst is not None:
        hits = tuple(hit for one in runs for hit in one.hits)
        return Finding("creep", Verdict.FAIL, worst.text, hits, facts, NOT_PROVED)
    failed = next((one for one in needed if isinstance(one, Failed)), None)
    if failed is not None:
        return Finding("creep", Verdict.INCONCLUSIVE, failed.text, (), facts, NOT_PROVED)
    return Finding("creep", Verdict.PASS, needed[0].text, (), facts, NOT_PROVED)


def _tried(how: str, session: Callable[[], Judged]) -> Judged | Failed:
    try:
        with torch.no_grad():
            return session()
    except OomSuiteError as error:
        return Failed(how, str(error))
    except Exception as error:
        return Failed(how, line_of(error))
