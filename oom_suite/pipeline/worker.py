"""What runs in a child process: one subject, in one lane, at whatever sizes it is asked for."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from oom_suite import doors
from oom_suite.errors import NotApplicableError, UsageError
from oom_suite.records import Afresh, Ask
from oom_suite.subjects import load, parse
from oom_suite.subjects.families.vllm.triton_placeholder import set_on_launch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.records import Job
    from oom_suite.targets.meters import Watch
    from oom_suite.tracing.measure import MeasureLane
    from oom_suite.tracing.prove import ProveLane
    from oom_suite.tracing.shadow import ShadowLane


_FORK_S = 600.0
"""Seconds that a fork may take; the child's own limit is what a user sets."""


def make_handler(job: Job) -> Callable[[Any], Any]:
    """The function that answers sizes with the trace of one call at them.

    In the prove lane it answers `Hints` with a `SymbolicTrace`; an `Ask` names a builder too,
    and `Afresh` asks for calls in a process that has just started.
    """
    root = None if job.root is None else Path(job.root)
    workload = doors.workload(job.workload)
    subject = load(parse(job.subject), workload, root=root, arch=job.arch)
    lane: Any = _lane(job, subject.root)

    def builder(name: str) -> Callable[[Mapping[str, int], torch.device], Callable[[], Any]]:
        module, _, function = name.partition(":")
        inputs = getattr(importlib.import_module(module), function)

        def build(sizes: Mapping[str, int], device: torch.device) -> Callable[[], Any]:
            # A server decodes without gradients; the lanes themselves leave that to the code.
            with torch.no_grad():
                step = functools.partial(subject.call, **inputs(sizes, device))
            return torch.no_grad()(step)

        return build

    usual = builder(job.builder)

    def run(request: Any) -> Any:
        if isinstance(request, Ask):
            return lane.run(builder(request.builder), request.sizes)
        if isinstance(request, Afresh):
            from oom_suite.safety.fake_isolation import in_fork

            sizes = request.sizes
            return in_fork(
                lambda: tuple(lane.run(usual, sizes) for _ in range(request.num_calls)), _FORK_S
            )
        return lane.run(usual, request)

    return run


def _lane(job: Job, root: Path) -> ShadowLane | MeasureLane | ProveLane:
    # Each lane's imports are its own: a child that measures starts in half the time.
    if job.lane == "shadow":
        from oom_suite.tracing.shadow import ShadowLane

        shadow = ShadowLane(root, job.scratch)
        # Where Triton is not installed, vLLM's kernels are placeholders with a hook of their own.
        set_on_launch(shadow.launched)
        return shadow
    if job.lane == "prove":
        from oom_suite.tracing.prove import ProveLane

        prove = ProveLane(root)
        set_on_launch(prove.launched)
        return prove
    if job.lane == "measure":
        from oom_suite.tracing.measure import Limits, MeasureLane

        # Without Triton, its kernels cannot run on a GPU either.
        set_on_launch(_refused)
        limits = Limits(job.headroom_bytes, job.headroom_by, job.snapshot_folder)
        return MeasureLane(root, job.device, _watch, limits)
    msg = f"unknown lane {job.lane!r}: choose shadow, measure or prove"
    raise UsageError(msg)


def _refused(kernel: str, _arguments: list[object]) -> None:
    msg = f"needs a GPU and Triton: it launches the Triton kernel {kernel}"
    raise NotApplicableError(msg)


def _watch(device: torch.device) -> Watch:
    from oom_suite.targets.meters import Watch

    return Watch(device.type, device.index)
