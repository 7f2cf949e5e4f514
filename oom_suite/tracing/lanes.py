"""A lane, ready for any code: what it needs around the run, and what its errors mean."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import LaneError, unknown
from oom_suite.targets.target import target
from oom_suite.torch_compat.compiler import compiled_calls_noted, require_compiler
from oom_suite.torch_compat.fakes import operator_without_fake
from oom_suite.tracing.believing import believing
from oom_suite.tracing.lane_spec import LANES, MOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from oom_suite.records import Trace
    from oom_suite.records.kept import RepeatedCalls
    from oom_suite.records.symbolic import Hints, SymbolicTrace
    from oom_suite.tracing.lane import Build
    from oom_suite.tracing.lane_spec import LaneSpec
    from oom_suite.tracing.measure.lane import Watched

    Watch = Callable[[torch.device], AbstractContextManager[Watched]]

_ENGINE_TOO_OLD = "device_ready_queues_"
"""In torch's error where autograd counted the devices before the one that code believes in.

Source: PyTorch 2.13 ``torch/csrc/autograd/engine.cpp``, ``ready_queue_by_index``.
"""
_NO_BACKWARD = (
    "a backward pass cannot be followed in this process: it ran one with real tensors before, when "
    "torch counted its devices; let the builder be a function of a module, which runs in a process "
    "of its own"
)
_NO_STORAGE = "Cannot access storage of Sparse"
_NO_SPARSE = (
    "the code computes with a sparse tensor, and how many entries such a result has is decided by "
    "values: run it in the measure lane"
)
_NO_AUTOCAST = (
    "torch.autocast on the device that it is given cannot be run without memory: "
    "convert the tensors in the test, or take autocast out of what it calls"
)


@contextlib.contextmanager
def loading(spec: LaneSpec) -> Iterator[None]:
    """While active, modules are imported that will run in a lane: they may ask about the device."""
    with contextlib.nullcontext() if spec.name == "measure" else believing(target(spec.target)):
        yield


class RunningLane:
    """Runs calls in one lane, in this process."""

    def __init__(self, spec: LaneSpec, root: Path, watch: Watch | None = None) -> None:
        """Import what the lane needs, and no other lane's.

        Raises:
            UsageError: there is no such lane.
            LaneError: there is no such device.
        """
        self._name = spec.name
        self._is_compiled = False
        self._lane: Any = _lane(spec, root, watch)
        if spec.name != "measure":
            require_compiler()

    @property
    def on_launch(self) -> Callable[[str, list[object]], None] | None:
        """What records a kernel that is not run; None where kernels run."""
        return None if self._name == "measure" else self._lane.launched

    def run(self, build: Build, sizes: Mapping[str, int], choice: str = MOST) -> Trace:
        """The trace of one call of ``build(sizes, device)()``.

        Args:
            build: makes the call.
            sizes: the axes' values.
            choice: how much of what data may choose is taken; for the shadow lane.

        Raises:
            LaneError: the code cannot be run in this lane.
        """
        options = {} if choice == MOST else {"choice": choice}
        with self._around():
            trace: Trace = self._lane.run(build, sizes, **options)
        return replace(trace, is_compiled=self._is_compiled)

    def repeat(self, build: Build, sizes: Mapping[str, int]) -> RepeatedCalls:
        """What calls of one ``build(sizes, device)`` leave alive; in the shadow lane.

        Raises:
            LaneError: the code cannot be run in this lane.
        """
        with self._around():
            found: RepeatedCalls = self._lane.repeat(build, sizes)
        return found

    def prove(self, build: Build, hints: Hints) -> SymbolicTrace:
        """The symbolic trace of one call, the sizes being symbols.

        Raises:
            LaneError: the code needs a value, or a size as a number, where none is known.
        """
        with self._around():
            trace: SymbolicTrace = self._lane.run(build, hints)
        return trace

    @contextlib.contextmanager
    def _around(self) -> Iterator[None]:
        with _explained(), contextlib.ExitStack() as undo:
            if self._name != "measure":
                # There is nothing to compile for: compiled functions run as they are written.
                undo.enter_context(torch.compiler.set_stance("force_eager"))
            undo.enter_context(compiled_calls_noted(self._note_compiled))
            yield

    def _note_compiled(self) -> None:
        self._is_compiled = True


def _lane(spec: LaneSpec, root: Path, watch: Watch | None) -> object:
    if spec.name == "shadow":
        from oom_suite.tracing.shadow import ShadowLane

        return ShadowLane(root, spec.scratch, spec.target)
    if spec.name == "prove":
        from oom_suite.tracing.prove import ProveLane

        return ProveLane(root, spec.target)
    if spec.name == "measure":
        from oom_suite.tracing.measure import Limits, MeasureLane

        limits = Limits(spec.headroom_bytes, spec.headroom_by, spec.snapshot_folder)
        return MeasureLane(root, spec.device, watch, limits)
    raise unknown("lane", spec.name, LANES)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Says what to do about an operator that no fake tensor can go through."""
    try:
        yield
    except Exception as error:
        if "from the 'Autocast" in str(error) and isinstance(error, NotImplementedError):
            raise LaneError(_NO_AUTOCAST) from error
        if _NO_STORAGE in str(error) and isinstance(error, NotImplementedError):
            raise LaneError(_NO_SPARSE) from error
        if _ENGINE_TOO_OLD in str(error):
            raise LaneError(_NO_BACKWARD) from error
        name = _operator_without_fake(error)
        if name is None:
            raise
        if name.startswith("aten::"):
            msg = (
                f"torch {torch.__version__} has no fake kernel for {name}, so its result's size is "
                "not known without running it: leave it out, or run it in the measure lane"
            )
            raise LaneError(msg) from error
        msg = (
            f"custom operator {name} has no fake kernel, so its result's size is not known without "
            f'running it: register one with @torch.library.register_fake("{name}")'
        )
        raise LaneError(msg) from error


def _operator_without_fake(error: BaseException) -> str | None:
    """The operator's name, where that is what an error is about."""
    known = operator_without_fake(error)
    if known is not None:
        return known
    text = str(error)
    if "no fake impl registered for" in text and "CustomOpDef(" in text:
        return text.partition("CustomOpDef(")[2].partition(")")[0]
    return None
