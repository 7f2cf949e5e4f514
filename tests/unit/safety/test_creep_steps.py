"""The plan of a creep run, what the modelled allocator holds, and growth by a single byte."""

from __future__ import annotations

import pytest

from oom_suite.records import Allocation, Event, Frame, Trace
from oom_suite.safety import creep_judge, creep_steps
from oom_suite.safety.creep_judge import counted_growth, judge
from oom_suite.safety.creep_run import Counted
from oom_suite.safety.creep_steps import (
    GROWING,
    STEADY,
    WARM_UP,
    ModelledSteps,
    PlannedStep,
    Repeated,
    StepShape,
    StepState,
    planned,
)
from oom_suite.safety.steps import variants_of
from oom_suite.workloads.sparse_mla.workload import DECODE
from oom_suite.workloads.variants import CYCLE

MIB = 1 << 20
LINE = Frame("a.py", 1, "f")


def event(text):
    """``"+3"`` allocates the third request, ``"-3"`` frees it."""
    return Event("alloc" if text[0] == "+" else "free", int(text[1:]))


def events(text):
    return [event(one) for one in text.split()]


def trace(*sizes, text=""):
    requests = tuple(Allocation(size, "aten::empty", (LINE,)) for size in sizes)
    return Trace("shadow", {}, requests, tuple(events(text)), 0)


@pytest.mark.parametrize(("num_steady", "num_cycles"), [(1, 1), (6, 1), (7, 2), (12, 2), (102, 17)])
def test_steady_steps_are_whole_cycles(num_steady, num_cycles):
    steps = planned(DECODE, num_steady)
    phases = [step.phase for step in steps]
    expected = [WARM_UP] * 2 * CYCLE + [GROWING] * 16 + [STEADY] * num_cycles * CYCLE
    assert expected == phases
    assert (6, 102) == (CYCLE, creep_steps.NUM_STEADY)
    assert planned(DECODE) == planned(DECODE, 102)


def test_a_plan_is_the_cycle_twice_the_longer_contexts_and_the_cycle_again():
    """Each step has the next of four contents; real tensors on a CPU are of smaller steps."""
    variants = variants_of(DECODE)
    for is_small in (False, True):
        steps = planned(DECODE, CYCLE, is_small=is_small)
        cycle = [StepShape.of(sizes) for sizes in variants.cycle(DECODE, is_small=is_small)]
        longer = [StepShape.of(sizes) for sizes in variants.longer(DECODE, is_small=is_small)]
        assert [*cycle, *cycle, *longer, *cycle] == [step.shape for step in steps]
        assert [number % 4 for number in range(len(steps))] == [step.variant for step in steps]
    assert planned(DECODE, CYCLE) == planned(DECODE, CYCLE, is_small=False, grows=True)
    assert planned(DECODE, CYCLE) != planned(DECODE, CYCLE, is_small=True)
    without = planned(DECODE, CYCLE, grows=False)
    assert {WARM_UP, STEADY} == {step.phase for step in without}


def test_a_shape_is_its_sizes_whatever_their_order():
    assert StepShape.of({"b": 1, "a": 2}) == StepShape.of({"a": 2, "b": 1})
    assert {"a": 2, "b": 1} == StepShape.of({"b": 1, "a": 2}).sizes


def test_what_is_alive_after_each_step_is_counted_in_requests_and_in_blocks():
    """A block is rounded up to 512 bytes, and a segment for small ones has 2 MiB."""
    steps = [events("+0 +1"), events("-0 +2"), events("")]
    first, second, third = ModelledSteps(trace(600, 3 * MIB, 1), steps).states()
    assert StepState(frozenset({0, 1}), 600 + 3 * MIB, 1024 + 3 * MIB, 22 * MIB) == first
    assert StepState(frozenset({1, 2}), 1 + 3 * MIB, 512 + 3 * MIB, 22 * MIB) == second
    assert second == third


@pytest.mark.parametrize(
    ("last", "is_repeated"),
    [("+0 -0", True), ("+0", False), ("-0", False), ("-0 +0", False), ("+0 -0 +0 -0", True)],
)
def test_a_cycle_is_repeated_where_each_step_frees_what_it_took_and_nothing_else(last, is_repeated):
    modelled = ModelledSteps(trace(600), [events("+0")] if last.startswith("-") else [[]])
    (state,) = modelled.states()
    found = modelled.repeat([events(last)])
    if is_repeated:
        assert Repeated(CYCLE * 2, 2 * MIB, is_periodic=True) == found
    else:
        assert Repeated(0, state.reserved_bytes, is_periodic=False) == found


def test_one_step_that_leaves_something_is_enough_for_a_cycle_not_to_be_repeated():
    modelled = ModelledSteps(trace(600, 700), [[]])
    modelled.states()
    found = modelled.repeat([events("+0 -0"), events("+1"), events("+0 -0")])
    assert Repeated(0, 0, is_periodic=False) == found


@pytest.mark.parametrize(("num_moves", "num_steps"), [(0, 6), (1, 12), (498, 2994), (499, 3000)])
def test_cycles_are_repeated_until_the_free_blocks_lie_as_before(monkeypatch, num_moves, num_steps):
    modelled = ModelledSteps(trace(600), [[]])
    places = iter([*range(num_moves + 1), *[num_moves] * 4])
    monkeypatch.setattr(ModelledSteps, "_blocks", lambda self: next(places))
    assert Repeated(num_steps, 2 * MIB, is_periodic=True) == modelled.repeat([events("+0 -0")])


def test_the_search_for_a_steady_state_is_given_up_after_3000_steps(monkeypatch):
    modelled = ModelledSteps(trace(600), [[]])
    places = iter(range(10_000))
    monkeypatch.setattr(ModelledSteps, "_blocks", lambda self: next(places))
    assert Repeated(3000, 2 * MIB, is_periodic=False) == modelled.repeat([events("+0 -0")])


def plan(num_warm, num_growing, num_steady):
    shape = StepShape(())
    phases = [WARM_UP] * num_warm + [GROWING] * num_growing + [STEADY] * num_steady
    return [PlannedStep(phase, shape, 0) for phase in phases]


def states(live_bytes, reserved=None, live=None):
    """States whose requests stay the same unless they are given."""
    reserved, live = reserved or [0] * len(live_bytes), live or [()] * len(live_bytes)
    return [
        StepState(frozenset(held), size, 0, kept)
        for size, kept, held in zip(live_bytes, reserved, live, strict=True)
    ]


AT_REST = Repeated(0, 0, is_periodic=True)


@pytest.mark.parametrize(("more_bytes", "num_hits"), [(0, 0), (1, 1), (-1, 0)])
def test_one_byte_more_after_the_steady_steps_than_before_is_growth(more_bytes, num_hits):
    """Between the last step before and the last of all."""
    found = states([50, 7, 9, 7 + more_bytes, 0])
    hits = judge(plan(2, 0, 2), found, trace(), AT_REST)
    assert ["grows-each-step"] * num_hits == [hit.kind for hit in hits]
    if hits:
        assert hits[0].text.endswith(": 0.5 bytes a step (1 B in 2 steps)")


@pytest.mark.parametrize(
    ("live", "kind"), [((0,), "grows-each-step"), ((0, 1), "leaked-reference")]
)
def test_more_tensors_are_kept_and_as_many_are_replaced(live, kind):
    found = states([5, 5, 6, 6], live=[(3,), (3,), live, live])
    (hit,) = judge(plan(1, 0, 2), found, trace(8, 9, 1, 1), AT_REST)
    assert (kind, LINE) == (hit.kind, hit.frame)


def test_tensors_that_the_collector_took_all_of_were_in_cycles_and_one_that_stays_was_not():
    for collected, words in (((0,), "in reference cycles"), ((0, 1), "stay alive after")):
        found = states([5, 5, 7, 5], live=[(0,), (0,), (0, 1, 2), collected])
        (hit,) = judge(plan(1, 0, 2), found, trace(1, 1, 1), AT_REST)
        assert words in hit.text


def growth(num_growing, grown, *, more_tensors):
    """States of so many growing steps behind two others, of which these are followed by a byte."""
    live_bytes, live = [3, 5], [(0,), (0,)]
    for number in range(num_growing):
        is_grown = number in grown
        live_bytes.append(live_bytes[-1] + is_grown)
        live.append((*live[-1], len(live)) if is_grown and more_tensors else live[-1])
    live_bytes += [live_bytes[-1]] * 3
    live += [live[-1]] * 3
    return states(live_bytes, live=live)


@pytest.mark.parametrize("more_tensors", [False, True])
@pytest.mark.parametrize(
    ("grown", "is_rule"),
    [((0, 1, 2), True), ((0, 1), False), ((1, 2), False), ((), False)],
)
def test_of_three_growing_steps_all_must_change_and_two_are_not_more_than_two_thirds(
    grown, is_rule, more_tensors
):
    steps = plan(2, 3, 2)
    hits = judge(steps, growth(3, grown, more_tensors=more_tensors), trace(*[1] * 9), AT_REST)
    kind = "shape-keyed-cache" if more_tensors else "grows-each-step"
    assert [kind] * is_rule == [hit.kind for hit in hits]
    if is_rule:
        assert hits[0].text.endswith(": 1 bytes a step (3 B in 3 steps)")
        assert (LINE if more_tensors else None) == hits[0].frame
    if is_rule and more_tensors:
        assert hits[0].text.startswith(
            "every new context length leaves a tensor in a cache that never drops one: "
        )


def test_without_growing_steps_none_grows():
    assert () == judge(plan(2, 0, 2), states([1, 1, 1, 1, 1]), trace(), AT_REST)


@pytest.mark.parametrize(
    ("end", "repeated", "grown_bytes"),
    [(512, 0, 0), (513, 0, 1), (512, 513, 1), (600, 520, 88), (0, 0, 0)],
)
def test_reserved_is_compared_with_the_middle_at_the_end_of_a_cycle(end, repeated, grown_bytes):
    """Of 24 steady steps after two others: the 12th is the middle."""
    reserved = [0] * (2 + 11) + [512] + [512] * 11 + [end, 9999]
    found = states([0] * len(reserved), reserved)
    hits = judge(plan(2, 0, 24), found, trace(), Repeated(30, repeated, is_periodic=False))
    expected = (
        f"allocated stays flat and reserved grows by {grown_bytes / 42:,.6g} bytes a step "
        f"({grown_bytes} B in 42 steps): freed blocks do not fit again"
    )
    assert [("reserved-grows", expected)] * (grown_bytes > 0) == [
        (hit.kind, hit.text) for hit in hits
    ]


@pytest.mark.parametrize(
    ("num_steady", "middle"), [(1, 0), (6, 0), (12, 5), (18, 5), (24, 11), (30, 11)]
)
def test_the_middle_is_the_end_of_a_cycle(num_steady, middle):
    """Of a single cycle its first step, for there is none before."""
    steady = list(range(100, 100 + num_steady))
    assert steady[middle] == creep_judge._middle(steady)


@pytest.mark.parametrize(
    ("allocated", "reserved", "kinds"),
    [
        ([5, 9, 7, 5], [0, 0, 0, 0], []),
        ([5, 5, 5, 6], [0, 0, 0, 0], ["leaked-reference"]),
        ([5, 5, 5, 4], [3, 8, 9, 9], ["reserved-grows"]),
        ([5, 5, 5, 5], [3, 8, 8, 8], []),
        ([5, 5, 5, 6], [3, 8, 9, 9], ["leaked-reference"]),
    ],
)
def test_a_gpus_counters_grow_by_a_byte_or_not_at_all(allocated, reserved, kinds):
    """Allocated from before the steady steps on, reserved from the first of a short stretch."""
    counted = [Counted(*pair) for pair in zip(allocated, reserved, strict=True)]
    hits = counted_growth(plan(1, 0, 3), counted)
    assert kinds == [hit.kind for hit in hits]
    if kinds == ["reserved-grows"]:
        assert "torch.cuda.memory_reserved grows by 1 bytes a step (1 B in 1 steps)" == hits[0].text


def test_a_rate_of_no_steps_is_that_of_one():
    assert "7 bytes a step (7 B in 0 steps)" == creep_judge._rate(7, 0)
    assert "1,234.5 bytes a step (2.41 KiB in 2 steps)" == creep_judge._rate(2469, 2)
