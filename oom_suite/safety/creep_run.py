"""Runs many decode steps in one session, and records what they allocate and free."""

from __future__ import annotations

import functools
import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.safety.creep_steps import GROWING, NUM_VARIANTS, planned
from oom_suite.tracing.recorder import Recorder
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.tracing.source_lines import lines_under_test
from oom_suite.workloads.sparse_mla.caches import spread_indices
from oom_suite.workloads.sparse_mla.geometry.scenarios import SMALL, resize
from oom_suite.workloads.sparse_mla.step import build, build_swa_only

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.records import Trace
    from oom_suite.safety.creep_steps import PlannedStep, StepShape
    from oom_suite.safety.steps import Target

    Contents = Mapping[str, torch.Tensor]
    LaunchHook = Callable[[str, list[object]], None]

MARK_BYTES = 13
"""Size of a request between steps, which has no line of code under test: it marks their ends."""
_SWA_TOPK = 64
_POOL_BLOCKS = 4096
_SMALL_POOL_BLOCKS = 64


@dataclass(frozen=True, slots=True)
class Counted:
    """What a GPU's allocator had after one step.

    Attributes:
        allocated_bytes: `torch.cuda.memory_allocated`.
        reserved_bytes: `torch.cuda.memory_reserved`.
    """

    allocated_bytes: int
    reserved_bytes: int


@dataclass(frozen=True, slots=True)
class CreepRun:
    """Many steps in one session.

    Attributes:
        steps: what was run, in order.
        trace: every request and free, with one of `MARK_BYTES` before the first step, after each
            step, and once more after a last garbage collection.
        counted: the allocator's own figures after each step; empty without a GPU.
    """

    steps: tuple[PlannedStep, ...]
    trace: Trace
    counted: tuple[Counted, ...] = ()


def shadow_run(
    target: Target,
    num_steady: int,
    set_launch_hook: Callable[[LaunchHook], object],
    *,
    grows: bool = True,
) -> CreepRun:
    """The steps under fake tensors: no memory, exact bytes.

    Raises:
        LaneError: a step needs a value that exists only on a device.
    """
    steps = planned(target.workload, num_steady, grows=grows)
    contents = contents_of(steps, _POOL_BLOCKS)
    lane = ShadowLane(target.root)
    set_launch_hook(lane.launched)

    def built(sizes: Mapping[str, int], device: torch.device) -> Callable[[], object]:
        del sizes
        return _loop(target, steps, device, _POOL_BLOCKS, contents, lambda: None)

    return CreepRun(tuple(steps), lane.run(built, {}))


def real_run(target: Target, num_steady: int) -> CreepRun:
    """The steps with real tensors, small ones on a CPU."""
    on_cpu = target.device.type == "cpu"
    steps = planned(target.workload, num_steady, small=on_cpu)
    counted: list[Counted] = []

    def count() -> None:
        if not on_cpu:
            counted.append(
                Counted(
                    torch.cuda.memory_allocated(target.device),
                    torch.cuda.memory_reserved(target.device),
                )
            )

    contents = contents_of(steps, _SMALL_POOL_BLOCKS)
    recorder = Recorder(target.device.type, lines_under_test(target.root))
    with recorder:
        call = _loop(target, steps, target.device, _SMALL_POOL_BLOCKS, contents, count)
        recorder.record(call)
    return CreepRun(tuple(steps), recorder.trace("measure", {}), tuple(counted))


def _loop(
    target: Target,
    steps: Sequence[PlannedStep],
    device: torch.device,
    num_blocks: int,
    contents: Mapping[PlannedStep, Contents],
    after_step: Callable[[], None],
) -> Callable[[], object]:
    """All steps as one call; everything that a server would hold is made before it."""
    inputs = _Inputs(target.workload, num_blocks, device)
    for step in steps:
        inputs.prepare(step.shape)

    def call() -> None:
        _mark(device)
        for step in steps:
            target.call(**inputs.of(step.shape, contents[step]))
            after_step()
            _mark(device)
        gc.collect()
        _mark(device)

    return torch.no_grad()(call)


def _mark(device: torch.device) -> None:
    torch.empty(MARK_BYTES, dtype=torch.uint8, device=device)


class _Inputs:
    """The buffers of every shape, over the same pools."""

    def __init__(self, workload: str, num_blocks: int, device: torch.device) -> None:
        self._build = build_swa_only if workload == "decode-swa" else build
        self._num_blocks = num_blocks
        self._device = device
        self._pools: dict[str, Any] = {}
        self._steps: dict[StepShape, dict[str, Any]] = {}

    def prepare(self, shape: StepShape) -> None:
        """Make the buffers of this shape, unless they are there."""
        if shape in self._steps:
            return
        step = self._build(sizes_of(shape, self._num_blocks), self._device)
        if not self._pools:
            self._pools = {name: step[name] for name in ("swa_k_cache", "kv_cache")}
        self._steps[shape] = {**step, **self._pools}

    def of(self, shape: StepShape, contents: Contents) -> dict[str, Any]:
        """The keyword arguments of a step, these indices and lengths written into its buffers."""
        arguments = self._steps[shape]
        for name, value in contents.items():
            if arguments[name] is not None:
                arguments[name].copy_(value.view(arguments[name].shape))
        return arguments


def sizes_of(shape: StepShape, num_blocks: int) -> dict[str, int]:
    """The value of every axis at this shape."""
    return resize(
        SMALL.sizes,
        {
            "num_blocks": num_blocks,
            "num_tokens": shape.num_tokens,
            "extra_topk": shape.extra_topk,
            "swa_topk": _SWA_TOPK,
        },
    )


def contents_of(steps: Sequence[PlannedStep], num_blocks: int) -> dict[PlannedStep, Contents]:
    """What is written before each step: other blocks, in another order, and longer contexts.

    Steps with a context of a length of its own keep what their buffers were made with.

    Returns:
        tensors on the CPU, by step; equal steps share theirs.
    """
    return {step: {} if step.phase == GROWING else _varied(step, num_blocks) for step in set(steps)}


# The steps are the same for every subject of a process.
@functools.cache
def _varied(step: PlannedStep, num_blocks: int) -> Contents:
    sizes, found = sizes_of(step.shape, num_blocks), {}
    for indices, lens, topk in (
        ("swa_indices", "swa_lens", sizes["swa_topk"]),
        ("topk_indices", "topk_lens", sizes["extra_topk"]),
    ):
        referenced = max(1, sizes["referenced_blocks"] - step.variant)
        made = spread_indices(
            sizes["num_tokens"], topk, num_blocks, sizes["block_size"], referenced, "cpu"
        )
        found[indices] = made.slots.flip(1)
        found[lens] = made.lens - (NUM_VARIANTS - 1 - step.variant)
    return found
