"""The steps of a creep run, and what the modelled allocator holds after each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.allocator import CachingAllocator
from oom_suite.safety.steps import variants_of
from oom_suite.workloads.variants import CYCLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.records import Event, Trace, Workload


WARM_UP = "warm-up"
GROWING = "growing"
STEADY = "steady"

_WARM_UP_CYCLES = 2
NUM_STEADY = 102
"""Steady steps that are run by default: 17 cycles, so that every hundredth call is among them."""

NUM_VARIANTS = 4
"""Contents of the index buffers: block tables reshuffled, and lengths that grow."""


@dataclass(frozen=True, slots=True)
class StepShape:
    """The sizes of one step."""

    items: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> StepShape:
        """The shape of these sizes."""
        return cls(tuple(sorted(sizes.items())))

    @property
    def sizes(self) -> dict[str, int]:
        """By name."""
        return dict(self.items)


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step.

    Attributes:
        phase: ``warm-up``, ``growing`` or ``steady``.
        shape: its sizes.
        variant: which of the prepared contents is written into its index buffers.
    """

    phase: str
    shape: StepShape
    variant: int


def planned(
    workload: Workload,
    num_steady: int = NUM_STEADY,
    *,
    is_small: bool = False,
    grows: bool = True,
) -> list[PlannedStep]:
    """The steps in their order.

    Every steady shape has been seen twice before the growing steps, each of which has a longer
    context than any before it, where the workload has such steps.

    Args:
        workload: what is run.
        num_steady: steady steps; whole cycles of `CYCLE` are made of them.
        is_small: whether real tensors on a CPU are to be computed.
        grows: whether there are steps with ever longer contexts.
    """
    variants = variants_of(workload)
    base = [StepShape.of(sizes) for sizes in variants.cycle(workload, is_small=is_small)]
    longer = variants.longer(workload, is_small=is_small) if grows else ()
    num_cycles = -(-num_steady // CYCLE)
    shapes = [
        *((WARM_UP, shape) for shape in base * _WARM_UP_CYCLES),
        *((GROWING, StepShape.of(sizes)) for sizes in longer),
        *((STEADY, shape) for shape in base * num_cycles),
    ]
    return [
        PlannedStep(phase, shape, number % NUM_VARIANTS)
        for number, (phase, shape) in enumerate(shapes)
    ]


MAX_REPEATED = 3000
"""Further steps after which the search for a steady state is given up."""


@dataclass(frozen=True, slots=True)
class StepState:
    """What was alive after one step.

    Attributes:
        live: the requests that were not freed, as positions in the trace.
        live_bytes: their sum.
        allocated_bytes: what the modelled allocator has handed out.
        reserved_bytes: what it holds.
    """

    live: frozenset[int]
    live_bytes: int
    allocated_bytes: int
    reserved_bytes: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """The last cycle of steps, done again and again in the modelled allocator.

    Attributes:
        num_steps: how many were done; 0 where a step of the cycle left something behind.
        reserved_bytes: what the allocator held at the end.
        is_periodic: whether its free blocks were where they had been a cycle before: then no
            number of further cycles changes anything.
    """

    num_steps: int
    reserved_bytes: int
    is_periodic: bool


class ModelledSteps:
    """The steps of one run in one modelled allocator.

    Args:
        trace: the run.
        steps: its events, from `oom_suite.records.kept.steps_of`.
    """

    def __init__(self, trace: Trace, steps: Sequence[Sequence[Event]]) -> None:
        self._trace = trace
        self._steps = steps
        self._allocator = CachingAllocator()
        self._addresses: dict[int, int] = {}

    def states(self) -> list[StepState]:
        """What was alive after each step."""
        found = []
        for events in self._steps:
            self._feed(events)
            counters = self._allocator.statistics.all
            found.append(
                StepState(
                    live=frozenset(self._addresses),
                    live_bytes=counters.requested_bytes.current,
                    allocated_bytes=counters.allocated_bytes.current,
                    reserved_bytes=counters.reserved_bytes.current,
                )
            )
        return found

    def repeat(self, last: Sequence[Sequence[Event]]) -> Repeated:
        """The cycle `last` again after `states`, until nothing moves any more."""
        if not all(_leaves_nothing(events) for events in last):
            return Repeated(0, self._reserved_bytes, is_periodic=False)
        before, num_steps = self._blocks(), 0
        while num_steps < MAX_REPEATED:
            for events in last:
                self._feed(events)
            num_steps += CYCLE
            after = self._blocks()
            if after == before:
                return Repeated(num_steps, self._reserved_bytes, is_periodic=True)
            before = after
        return Repeated(num_steps, self._reserved_bytes, is_periodic=False)

    @property
    def _reserved_bytes(self) -> int:
        return self._allocator.statistics.all.reserved_bytes.current

    def _feed(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.kind == "free":
                self._allocator.free(self._addresses.pop(event.allocation))
            else:
                size = self._trace.allocations[event.allocation].requested_bytes
                self._addresses[event.allocation] = self._allocator.malloc(size)

    def _blocks(self) -> frozenset[tuple[int, int]]:
        return frozenset((one.address, one.num_bytes) for one in self._allocator.free_blocks())


def _leaves_nothing(events: Sequence[Event]) -> bool:
    """Whether these events free what they allocate, and nothing else."""
    held: set[int] = set()
    for event in events:
        if event.kind == "alloc":
            held.add(event.allocation)
        elif event.allocation in held:
            held.discard(event.allocation)
        else:
            return False
    return not held
