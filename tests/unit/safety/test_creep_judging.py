"""What is made of the states and traces of many steps."""

from __future__ import annotations

import pytest

from oom_suite.records import Allocation, Event, Frame, Trace
from oom_suite.safety.creep_judge import counted_growth, judge
from oom_suite.safety.creep_run import Counted
from oom_suite.safety.creep_steps import (
    STEADY,
    ModelledSteps,
    Repeated,
    StepState,
    planned,
)
from oom_suite.workloads.sparse_mla.workload import DECODE, DECODE_SWA
from oom_suite.workloads.variants import CYCLE


def states(*live_bytes, reserved=()):
    reserved = reserved or (0,) * len(live_bytes)
    return [
        StepState(frozenset(range(size)), size, size, kept)
        for size, kept in zip(live_bytes, reserved, strict=True)
    ]


def trace(num_requests=300):
    line = Frame("a.py", 1, "f")
    return Trace("shadow", {}, (Allocation(1, "aten::empty", (line,)),) * num_requests, (), 0)


def steady_run():
    return planned(DECODE_SWA, 4 * CYCLE)


def test_reserved_that_grows_alone_is_its_own_kind():
    """Allocated flat, reserved higher at the end than in the middle."""
    steps = steady_run()
    reserved = [0] * (len(steps) - 1) + [512, 512]
    found = judge(
        steps,
        states(*[0] * (len(steps) + 1), reserved=reserved),
        trace(),
        Repeated(0, 512, is_periodic=False),
    )
    assert ["reserved-grows"] == [hit.kind for hit in found]


def test_reserved_that_grows_only_in_the_first_half_is_a_warm_up():
    """The allocator may need some cycles to have a block for each request."""
    steps = steady_run()
    reserved = [0] * 12 + [512] * (len(steps) - 11)
    found = judge(
        steps,
        states(*[0] * (len(steps) + 1), reserved=reserved),
        trace(),
        Repeated(3000, 512, is_periodic=True),
    )
    assert () == found


def test_reserved_that_grows_in_repeated_cycles_is_seen():
    """The modelled allocator goes on where the run ended."""
    steps = steady_run()
    flat = states(*[0] * (len(steps) + 1))
    found = judge(steps, flat, trace(), Repeated(3000, 2 << 20, is_periodic=False))
    assert ["reserved-grows"] == [hit.kind for hit in found]


@pytest.mark.parametrize(
    ("allocated", "reserved", "kinds"),
    [
        (lambda n: 0, lambda n: 0, []),
        (lambda n: 512 * n, lambda n: 0, ["leaked-reference"]),
        (lambda n: 0, lambda n: (n // 20) * (2 << 20), ["reserved-grows"]),
    ],
    ids=["flat", "allocated", "reserved"],
)
def test_a_gpus_own_counters_are_judged(allocated, reserved, kinds):
    """What no operator shows, the allocator's counters still do."""
    steps = planned(DECODE_SWA, 8 * CYCLE)
    counted = [Counted(allocated(n), reserved(n)) for n in range(len(steps))]
    assert kinds == [hit.kind for hit in counted_growth(steps, counted)]


def test_a_cycle_that_gives_all_back_is_periodic():
    """The allocator's blocks lie as they lay: further cycles change nothing."""
    requests = (Allocation(3 << 20, "aten::empty", ()), Allocation(600, "aten::empty", ()))
    taken = [Event("alloc", 0), Event("alloc", 1), Event("free", 0), Event("free", 1)]
    modelled = ModelledSteps(Trace("shadow", {}, requests, tuple(taken), 0), [taken])
    (state,) = modelled.states()
    repeated = modelled.repeat([taken])
    assert (0, True) == (state.live_bytes, repeated.is_periodic)
    assert state.reserved_bytes == repeated.reserved_bytes


def test_a_cycle_that_keeps_something_is_not_repeated():
    """What a step leaves behind is judged by the steps that were run."""
    requests = (Allocation(600, "aten::empty", ()),)
    taken = [Event("alloc", 0)]
    modelled = ModelledSteps(Trace("shadow", {}, requests, tuple(taken), 0), [taken])
    modelled.states()
    assert 0 == modelled.repeat([taken]).num_steps


def test_the_plan_meets_every_shape_twice_before_it_is_steady():
    """Steady steps have no shape that is new."""
    steps = planned(DECODE)
    seen = [step.shape for step in steps if step.phase != STEADY]
    steady = {step.shape for step in steps if step.phase == STEADY}
    assert {2} == {seen.count(shape) for shape in steady}


def growing_run(num_changed, *, more_tensors=False):
    """A run in which so many of the 16 growing steps are followed by more live bytes.

    Args:
        num_changed: steps with more.
        more_tensors: whether there are more tensors too, and not larger ones alone.
    """
    steps = planned(DECODE, CYCLE)
    growing = [number for number, step in enumerate(steps) if step.phase == "growing"]
    found, live_bytes = [], 100
    for number in range(len(steps) + 1):
        live_bytes += number in growing[:num_changed]
        live = frozenset(range(live_bytes if more_tensors else 100))
        found.append(StepState(live, live_bytes, live_bytes, 0))
    return judge(steps, found, trace(), Repeated(0, 0, is_periodic=True))


@pytest.mark.parametrize("more_tensors", [False, True], ids=["larger", "more"])
@pytest.mark.parametrize(("num_changed", "is_rule"), [(10, False), (11, True), (16, True)])
def test_more_than_two_thirds_of_the_growing_steps_are_a_rule(num_changed, is_rule, more_tensors):
    """Of 16 steps, a change in 10 may be chance, and in 11 is none."""
    kind = "shape-keyed-cache" if more_tensors else "grows-each-step"
    assert [kind] * is_rule == [
        hit.kind for hit in growing_run(num_changed, more_tensors=more_tensors)
    ]


@pytest.mark.parametrize("num_changed", [3, 8])
def test_a_workspace_that_doubles_or_grows_by_a_quarter_is_no_rule(num_changed):
    """The healthy ones that the docstring of the threshold names."""
    assert () == growing_run(num_changed)


def test_what_is_regrown_says_in_how_many_steps_and_by_how_much():
    (hit,) = growing_run(12)
    assert (
        "a workspace is made a little larger in 12 of 16 steps with longer contexts, and its old "
        "memory cannot be reused: 0.75 bytes a step (12 B in 16 steps)"
    ) == hit.text


def steady_growth(num_steps, *, kept, collected):
    """A steady stretch at whose end one byte a step is live, in so many tensors."""
    steps = planned(DECODE_SWA, num_steps)
    first = next(number for number, step in enumerate(steps) if step.phase == STEADY)
    found = []
    for number in range(len(steps)):
        grown = max(0, number - first + 1)
        found.append(StepState(frozenset(kept(grown)), 100 + grown, 0, 0))
    found.append(StepState(frozenset(collected), 0, 0, 0))
    return judge(steps, found, trace(), Repeated(0, 0, is_periodic=True))


def test_tensors_that_stay_alive_are_told_from_those_that_wait_for_the_collector():
    """What the last collection takes was in reference cycles."""
    kept = steady_growth(12, kept=range, collected=range(12))
    (hit,) = kept
    assert "leaked-reference" == hit.kind
    assert (
        "tensors stay alive after their step: 1 bytes a step (12 B in 12 steps), 12 in 12 steps"
    ) == hit.text
    assert ("a.py", 1) == (hit.frame.file, hit.frame.line)
    (cycle,) = steady_growth(12, kept=range, collected=())
    assert cycle.text.startswith("tensors stay in reference cycles until the garbage collector")
    assert "leaked-reference" == cycle.kind


def test_one_tensor_that_is_kept_and_replaced_by_a_larger_is_regrown():
    (hit,) = steady_growth(12, kept=lambda grown: [grown], collected=[12])
    assert "grows-each-step" == hit.kind
    assert (
        "a buffer that is kept is replaced by a larger one: 1 bytes a step (12 B in 12 steps)"
    ) == hit.text


def test_a_steady_stretch_that_ends_as_it_began_is_no_breach():
    """The healthy twin, with fewer live bytes at the end."""
    steps = planned(DECODE_SWA, 12)
    falling = states(*range(len(steps) + 1, 0, -1))
    assert () == judge(steps, falling, trace(), Repeated(0, 0, is_periodic=True))


def test_the_line_named_is_the_one_that_asked_for_most():
    lines = [Frame("a.py", 1, "f"), Frame("a.py", 2, "g")]
    requests = (
        Allocation(100, "aten::empty", (lines[0],)),
        Allocation(60, "aten::empty", (lines[1],)),
        Allocation(60, "aten::empty", (lines[1],)),
        Allocation(999, "aten::empty", ()),
    )
    steps = planned(DECODE_SWA, CYCLE)
    before = StepState(frozenset(), 0, 0, 0)
    after = StepState(frozenset(range(4)), 1219, 0, 0)
    found = [before] * (len(steps) - 1) + [after, after]
    (hit,) = judge(
        steps, found, Trace("shadow", {}, requests, (), 0), Repeated(0, 0, is_periodic=True)
    )
    assert lines[1] == hit.frame


@pytest.mark.parametrize(
    ("allocated", "reserved", "text"),
    [
        (lambda n: n, lambda n: 0, "torch.cuda.memory_allocated grows by 1 bytes a step"),
        (lambda n: 0, lambda n: n, "torch.cuda.memory_reserved grows by 1 bytes a step"),
        (lambda n: n, lambda n: n, "torch.cuda.memory_allocated grows by 1 bytes a step"),
    ],
    ids=["allocated", "reserved", "both"],
)
def test_the_counters_say_how_fast(allocated, reserved, text):
    """Allocated over all steady steps, reserved over their second half."""
    steps = planned(DECODE_SWA, 8 * CYCLE)
    counted = [Counted(allocated(n), reserved(n)) for n in range(len(steps))]
    (hit,) = counted_growth(steps, counted)
    num_steps = 4 * CYCLE if "reserved" in text else 8 * CYCLE
    assert f"{text} ({num_steps} B in {num_steps} steps)" == hit.text
