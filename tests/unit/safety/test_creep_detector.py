"""Creep: what grows from step to step is caught with its line; what comes to rest is not."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest
import torch

from oom_suite.doors import workload as find_workload
from oom_suite.records import Verdict
from oom_suite.safety.creep import Creep
from oom_suite.safety.steps import Target
from oom_suite.workloads.sparse_mla.builtins import BUILTINS
from oom_suite.workloads.variants import CYCLE

ROOT = Path(__file__).parent
KEPT = []
CALLS = []
CACHE = {}
WORKSPACE = {}
RING = deque(maxlen=8)


def finding(call, workload="decode", num_steady=102):
    return Creep(num_steady=num_steady)(
        Target(call, ROOT, find_workload(workload), torch.device("cpu"))
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
    assert "changes only after more steps than were run" in found.not_proved


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
