"""Runs many decode steps in one session, and records what they allocate and free."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.safety.creep_steps import GROWING, planned
from oom_suite.safety.steps import builder_of
from oom_suite.tracing.recorder import Recorder
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.tracing.source_lines import lines_under_test
from oom_suite.tracing.starting import watched
from oom_suite.tracing.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.records import Trace
    from oom_suite.safety.creep_steps import PlannedStep, StepShape
    from oom_suite.safety.steps import Target

    Contents = Mapping[str, torch.Tensor]
    LaunchHook = Callable[[str, list[object]], None]


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
        trace: every request and free, with a mark before the first step, after each step, and
            once more after a last garbage collection.
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
    contents = contents_of(target, steps)
    lane = ShadowLane(target.root)
    set_launch_hook(lane.launched)

    def built(sizes: Mapping[str, int], device: torch.device) -> Callable[[], object]:
        del sizes
        return _loop(target, steps, device, contents, lane.mark)

    return CreepRun(tuple(steps), lane.run(built, {}))


def real_run(target: Target, num_steady: int) -> CreepRun:
    """The steps with real tensors, small ones on a CPU."""
    on_cpu = target.device.type == "cpu"
    steps = planned(target.workload, num_steady, is_small=on_cpu)
    counted: list[Counted] = []

    def mark() -> None:
        recorder.mark()
        if not on_cpu:
            counted.append(
                Counted(
                    torch.cuda.memory_allocated(target.device),
                    torch.cuda.memory_reserved(target.device),
                )
            )

    contents = contents_of(target, steps)
    lines = lines_under_test(target.root)
    recorder = Recorder(target.device.type, lines)
    threads = recorder.threads = Threads((recorder,), recorder.overlaps, lines)
    with watched(), threads.recorded():
        call = _loop(target, steps, target.device, contents, mark)
        recorder.record(call)
    # One count before the first step, and one after the last collection, belong to no step.
    return CreepRun(tuple(steps), recorder.trace("measure", {}), tuple(counted[1:-1]))


def _loop(
    target: Target,
    steps: Sequence[PlannedStep],
    device: torch.device,
    contents: Mapping[PlannedStep, Contents],
    mark: Callable[[], None],
) -> Callable[[], object]:
    """All steps as one call; everything that a server would hold is made before it."""
    inputs = _Inputs(target, device)
    for step in steps:
        inputs.prepare(step.shape)

    def call() -> None:
        mark()
        for step in steps:
            target.call(**inputs.of(step.shape, contents[step]))
            mark()
        gc.collect()
        mark()

    under: Callable[[], object] = target.gradients()(call)
    return under


class _Inputs:
    """The buffers of every shape, over the same pools."""

    def __init__(self, target: Target, device: torch.device) -> None:
        self._build = builder_of(target.workload)
        self._names = [pool.name for pool in target.workload.pools]
        self._device = device
        self._pools: dict[tuple[str, object], Any] = {}
        self._steps: dict[StepShape, dict[str, Any]] = {}

    def prepare(self, shape: StepShape) -> None:
        """Make the buffers of this shape, unless they are there."""
        if shape in self._steps:
            return
        step = self._build(shape.sizes, self._device)
        for name in self._names:
            if step.get(name) is not None:
                step[name] = self._pools.setdefault((name, step[name].shape), step[name])
        self._steps[shape] = step

    def of(self, shape: StepShape, contents: Contents) -> dict[str, Any]:
        """The keyword arguments of a step, these indices and lengths written into its buffers."""
        arguments = self._steps[shape]
        for name, value in contents.items():
            if arguments.get(name) is not None:
                arguments[name].copy_(value.view(arguments[name].shape))
        return arguments


def contents_of(target: Target, steps: Sequence[PlannedStep]) -> dict[PlannedStep, Contents]:
    """What is written before each step: other blocks, in another order, and longer contexts.

    Steps with a context of a length of its own keep what their buffers were made with.

    Returns:
        tensors on the CPU, by step; equal steps share theirs.
    """
    of = target.variants.contents
    return {
        step: {} if step.phase == GROWING else of(target.workload, step.shape.sizes, step.variant)
        for step in set(steps)
    }
