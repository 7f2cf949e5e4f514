"""Creep: what grows from step to step is caught with its line; what comes to rest is not."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest
import torch

from oom_suite.records import Allocation, Event, Frame, Trace, Verdict
from oom_suite.safety.creep import Creep
from oom_suite.safety.creep_judge import counted_growth, judge
from oom_suite.safety.creep_plan import CYCLE, STEADY, planned
from oom_suite.safety.creep_run import MARK_BYTES, Counted
from oom_suite.safety.creep_steps import ModelledSteps, Repeated, StepState, cut
from oom_suite.safety.protocol import Target
from oom_suite.subjects.decode import BUILTINS

ROOT = Path(__file__).parent
KEPT = []
CALLS = []
CACHE = {}
WORKSPACE = {}
RING = deque(maxlen=8)


def finding(call, workload="decode", num_steady=102):
    return Creep(num_steady=num_steady)(
        Target(call, ROOT, workload, torch.device("cpu"), torch.float8_e4m3fn)
    )


def zeroed(step):
    """The least that a step does."""
    step["output"].zero_()


def empty(step, num_bytes):
    return torch.empty(num_bytes, dtype=torch.uint8, device=step["q"].device)


def in_a_list(step):
    KEPT.append(empty(step, 512))


def one_byte(step):
    KEPT.append(empty(step, 1))


def every_hundredth(step):
    CALLS.append(1)
    if len(CALLS) % 100 == 0:
        KEPT.append(empty(step, 512))


def in_a_closure(step):
    tensor = empty(step, 64)
    KEPT.append(lambda: tensor)


def in_a_cycle(step):
    class Node:
        pass

    node = Node()
    node.own, node.tensor = node, empty(step, 64)


def the_result(step):
    KEPT.append(step["output"] + 1)


def regrown_each_step(step):
    before = WORKSPACE.get("w")
    WORKSPACE["w"] = empty(step, 512 if before is None else before.numel() + 512)


def regrown_with_the_context(step):
    width = step["topk_indices"].shape[-1]
    before = WORKSPACE.get("w")
    if before is None or before.numel() < 64 * width:
        WORKSPACE["w"] = empty(step, 64 * width)


def keyed_by_context(step):
    width = step["topk_indices"].shape[-1]
    if width not in CACHE:
        CACHE[width] = empty(step, width)


FAULTS = {
    in_a_list: "leaked-reference",
    one_byte: "leaked-reference",
    every_hundredth: "leaked-reference",
    in_a_closure: "leaked-reference",
    in_a_cycle: "leaked-reference",
    the_result: "leaked-reference",
    regrown_each_step: "grows-each-step",
    regrown_with_the_context: "grows-each-step",
    keyed_by_context: "shape-keyed-cache",
}


def with_a(fault):
    def call(**step):
        zeroed(step)
        fault(step)

    return call


def name_of(value):
    return getattr(value, "__name__", value)


@pytest.mark.parametrize(("fault", "kind"), FAULTS.items(), ids=name_of)
def test_what_grows_is_named(fault, kind):
    """The hit has the fault's kind, and a line under the function that was planted."""
    found = finding(with_a(fault))
    assert (Verdict.FAIL, kind) == (found.verdict, found.hits[0].kind)
    assert "test_creep_detector.py" == found.hits[0].frame.file


def test_the_figures_are_exact():
    """Bytes a step, of 512-byte tensors that stay after each of 102 steps."""
    assert (
        "512 bytes a step (51.00 KiB in 102 steps), 102 in 102 steps"
        in finding(with_a(in_a_list)).hits[0].text
    )


def test_a_cycle_is_told_from_a_list():
    """What the garbage collector can free is said to wait for it."""
    assert "reference cycles" in finding(with_a(in_a_cycle)).hits[0].text


def on_the_first_call(step):
    if "w" not in WORKSPACE:
        WORKSPACE["w"] = empty(step, 4096)


def doubled(step):
    wanted = step["topk_indices"].shape[-1] * step["q"].shape[0]
    before = WORKSPACE.get("w")
    if before is None or before.numel() < wanted:
        WORKSPACE["w"] = empty(step, 1 << (wanted - 1).bit_length())


def keyed_by_batch(step):
    batch = step["q"].shape[0]
    if batch not in CACHE:
        CACHE[batch] = empty(step, batch)


def last_eight(step):
    RING.append(empty(step, 512))


def replaced_alike(step):
    WORKSPACE["w"] = empty(step, 512)


def bounded_by_context(step):
    width = step["topk_indices"].shape[-1]
    if width not in CACHE:
        CACHE[width] = empty(step, 512)
        while len(CACHE) > 4:
            del CACHE[next(iter(CACHE))]


def temporary_of_every_size(step):
    empty(step, 4096 * step["q"].shape[0] * step["topk_indices"].shape[-1])


TWINS = (
    on_the_first_call,
    doubled,
    keyed_by_batch,
    last_eight,
    replaced_alike,
    bounded_by_context,
    temporary_of_every_size,
)


@pytest.mark.parametrize("twin", TWINS, ids=name_of)
def test_what_comes_to_rest_passes(twin):
    """Workspaces that end, caches that drop, batches that come again."""
    found = finding(with_a(twin))
    assert (Verdict.PASS, ()) == (found.verdict, found.hits)


def after_call(limit):
    def keep(step):
        CALLS.append(1)
        if len(CALLS) == limit:
            KEPT.append(empty(step, 512))

    return keep


@pytest.mark.parametrize(
    ("call", "verdict"), [(12 + 16 + 102, Verdict.FAIL), (12 + 16 + 103, Verdict.PASS)]
)
def test_the_steps_that_are_run_are_the_limit(call, verdict):
    """What happens at the last call is seen; what would happen at the next is not, as it says."""
    found = finding(with_a(after_call(call)))
    assert verdict is found.verdict
    assert "state that changes later" in found.not_proved


@pytest.mark.parametrize("workload", ["decode", "decode-swa"])
@pytest.mark.parametrize("name", BUILTINS)
def test_the_built_ins_are_flat(name, workload):
    """Batches fall and rise, contexts grow, and nothing is left, for any number of steps."""
    found = finding(BUILTINS[name], workload, num_steady=CYCLE)
    assert Verdict.PASS is found.verdict
    assert "any number of further ones" in found.reason


def only_on_a_gpu(**step):
    if step["q"].device.type == "cpu":
        raise RuntimeError("no kernel for the CPU")
    zeroed(step)


def test_code_for_gpus_alone_is_judged_by_fake_tensors():
    """All steps are run in the shadow then, and the finding says why no real ones were."""
    found = finding(only_on_a_gpu, num_steady=12)
    assert Verdict.PASS is found.verdict
    assert "40 steps (shadow)" in found.reason
    assert "no kernel for the CPU" in dict(found.facts)["cpu"]


def fails(**step):
    raise ValueError("not today")


def test_a_step_that_raises_is_inconclusive():
    """One line says why."""
    found = finding(fails)
    assert Verdict.INCONCLUSIVE is found.verdict
    assert "ValueError: not today" in found.reason


# What is judged, without running anything.


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
