"""What is made of the states and traces of many steps."""

from __future__ import annotations

import pytest

from oom_suite.records import Allocation, Event, Frame, Trace
from oom_suite.safety.creep_judge import counted_growth, judge
from oom_suite.safety.creep_run import MARK_BYTES, Counted
from oom_suite.safety.creep_steps import (
    CYCLE,
    STEADY,
    ModelledSteps,
    Repeated,
    StepState,
    cut,
    planned,
)


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
    return planned("decode-swa", 4 * CYCLE)


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
    steps = planned("decode-swa", 8 * CYCLE)
    counted = [Counted(allocated(n), reserved(n)) for n in range(len(steps))]
    assert kinds == [hit.kind for hit in counted_growth(steps, counted)]


def test_marks_cut_a_trace_into_steps():
    """Only the harness's own requests cut: of that size, and without a line of code."""
    line = Frame("a.py", 1, "f")
    requests = (
        Allocation(MARK_BYTES, "aten::empty", ()),
        Allocation(MARK_BYTES, "aten::empty", (line,)),
        Allocation(7, "aten::empty", ()),
    )
    order = ["0a", "0f", "1a", "0a", "0f", "2a", "2f", "0a", "0f", "0a", "0f"]
    kinds = {"a": "alloc", "f": "free"}
    events = tuple(Event(kinds[one[1]], int(one[0])) for one in order)
    found = cut(Trace("shadow", {}, requests, events, 0), MARK_BYTES)
    assert [[1], [2, 2], []] == [[event.allocation for event in step] for step in found]


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
    steps = planned("decode")
    seen = [step.shape for step in steps if step.phase != STEADY]
    steady = {step.shape for step in steps if step.phase == STEADY}
    assert {2} == {seen.count(shape) for shape in steady}
