"""Finds breaches in what was alive after each step: what grows, by how much, at which line."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.records.kept import line_of
from oom_suite.records.safety import Hit
from oom_suite.safety.creep_steps import GROWING, STEADY
from oom_suite.units import format_bytes
from oom_suite.workloads.variants import CYCLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oom_suite.records import Frame, Trace
    from oom_suite.safety.creep_run import Counted
    from oom_suite.safety.creep_steps import PlannedStep, Repeated, StepState

LEAKED = "leaked-reference"
REGROWN = "grows-each-step"
SHAPE_KEYED = "shape-keyed-cache"
RESERVED = "reserved-grows"
MOST = 2 / 3
"""Share of the growing steps that must change something before it is taken for a rule.

A workspace that doubles changes in 3 of the 16, one that grows by a quarter in 8; one that is
regrown to every new size, or a cache with an entry for each, changes in all.
"""


def judge(
    steps: Sequence[PlannedStep],
    states: Sequence[StepState],
    trace: Trace,
    repeated: Repeated,
) -> tuple[Hit, ...]:
    """The breaches, the plainest first.

    Args:
        steps: what was run.
        states: what was alive after each step, and after the last garbage collection.
        trace: has the requests.
        repeated: what further cycles did.
    """
    hits = growth(steps, states, trace)
    return hits or _in_reserved(_of_phase(steps, STEADY), states, repeated)


def growth(
    steps: Sequence[PlannedStep], states: Sequence[StepState], trace: Trace, name: str = ""
) -> tuple[Hit, ...]:
    """The breach in what was alive after each step, whatever the allocator holds beside it.

    Args:
        steps: as of `judge`.
        states: as of `judge`.
        trace: as of `judge`.
        name: before the text, where it is not the device's memory.
    """
    by_phase = {phase: _of_phase(steps, phase) for phase in (GROWING, STEADY)}
    # What grows in steady steps grows in growing ones as well: that is one breach, not two.
    hit = _in_steady(by_phase[STEADY], states, trace) or _in_growing(
        by_phase[GROWING], states, trace
    )
    return (replace(hit, text=f"{name}{hit.text}"),) if hit else ()


def counted_growth(steps: Sequence[PlannedStep], counted: Sequence[Counted]) -> tuple[Hit, ...]:
    """The breach that a GPU's own counters show in the steady stretch, whoever allocated."""
    steady = _of_phase(steps, STEADY)
    first, middle, last = counted[steady[0] - 1], counted[_middle(steady)], counted[steady[-1]]
    grown_bytes = last.allocated_bytes - first.allocated_bytes
    if grown_bytes > 0:
        rate = _rate(grown_bytes, len(steady))
        return (Hit(LEAKED, f"torch.cuda.memory_allocated grows by {rate}"),)
    grown_bytes = last.reserved_bytes - middle.reserved_bytes
    if grown_bytes > 0:
        rate = _rate(grown_bytes, len(steady) // 2)
        return (Hit(RESERVED, f"torch.cuda.memory_reserved grows by {rate}"),)
    return ()


def _of_phase(steps: Sequence[PlannedStep], phase: str) -> list[int]:
    return [number for number, step in enumerate(steps) if step.phase == phase]


def _middle(steady: Sequence[int]) -> int:
    """The end of the cycle in the middle of the steady stretch."""
    return steady[len(steady) // CYCLE // 2 * CYCLE - 1] if len(steady) > CYCLE else steady[0]


def _in_steady(steady: Sequence[int], states: Sequence[StepState], trace: Trace) -> Hit | None:
    before, after, collected = states[steady[0] - 1], states[steady[-1]], states[-1]
    grown_bytes = after.live_bytes - before.live_bytes
    if grown_bytes <= 0:
        return None
    rate = _rate(grown_bytes, len(steady))
    new = after.live - before.live
    frame = _line(new, trace)
    if len(after.live) <= len(before.live):
        text = f"a buffer that is kept is replaced by a larger one: {rate}"
        return Hit(REGROWN, text, frame)
    if not new & collected.live:
        text = f"tensors stay in reference cycles until the garbage collector runs: {rate}"
        return Hit(LEAKED, text, frame)
    text = f"tensors stay alive after their step: {rate}, {len(new)} in {len(steady)} steps"
    return Hit(LEAKED, text, frame)


def _in_growing(growing: Sequence[int], states: Sequence[StepState], trace: Trace) -> Hit | None:
    if not growing:
        return None
    before, after = states[growing[0] - 1], states[growing[-1]]
    pairs = [(states[number - 1], states[number]) for number in growing]
    grown_bytes = after.live_bytes - before.live_bytes
    num_more = sum(len(new.live) > len(old.live) for old, new in pairs)
    num_changed = sum(new.live_bytes > old.live_bytes for old, new in pairs)
    frame = _line(after.live - before.live, trace)
    rate = _rate(grown_bytes, len(growing))
    if num_more > MOST * len(growing):
        text = f"every new context length leaves a tensor in a cache that never drops one: {rate}"
        return Hit(SHAPE_KEYED, text, frame)
    if num_changed > MOST * len(growing):
        text = (
            f"a workspace is made a little larger in {num_changed} of {len(growing)} steps with "
            f"longer contexts, and its old memory cannot be reused: {rate}"
        )
        return Hit(REGROWN, text, frame)
    return None


def _in_reserved(
    steady: Sequence[int], states: Sequence[StepState], repeated: Repeated
) -> tuple[Hit, ...]:
    middle, last = states[_middle(steady)], states[steady[-1]]
    end_bytes = max(last.reserved_bytes, repeated.reserved_bytes)
    grown_bytes = end_bytes - middle.reserved_bytes
    if grown_bytes <= 0:
        return ()
    num_steps = len(steady) // 2 + repeated.num_steps
    rate = _rate(grown_bytes, num_steps)
    text = f"allocated stays flat and reserved grows by {rate}: freed blocks do not fit again"
    return (Hit(RESERVED, text),)


def _line(allocations: frozenset[int], trace: Trace) -> Frame | None:
    return line_of(trace.allocations[one] for one in allocations)


def _rate(num_bytes: int, num_steps: int) -> str:
    per_step = num_bytes / max(1, num_steps)
    return f"{per_step:,.6g} bytes a step ({format_bytes(num_bytes)} in {num_steps} steps)"
