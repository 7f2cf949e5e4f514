"""`oom_suite.predict`: what one call will ask of a device that need not be there."""

from __future__ import annotations

import inspect
import multiprocessing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oom_suite.allocator import peaks_of
from oom_suite.errors import UsageError
from oom_suite.pipeline.law_tests.decorator import BUILDER_PARAMETERS, declaration_of
from oom_suite.pipeline.law_tests.promise import checked_sizes
from oom_suite.pipeline.programs import BuilderProgram, CallableProgram
from oom_suite.pipeline.session import Limits, Session
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S
from oom_suite.processes.child_main import CHILD_NAME
from oom_suite.records import AllocatorPeaks, Trace
from oom_suite.targets.default import default_target
from oom_suite.targets.target import target as target_of
from oom_suite.tracing.lane_spec import LaneSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.pipeline.programs import Program
    from oom_suite.targets.target import Target

_MAIN = "__main__"
_MAIN_IN_A_CHILD = "__mp_main__"
"""The name that a script has in a child, so that what its main guard protects is not run there."""


@dataclass(frozen=True, slots=True)
class Prediction(Trace):
    """The trace of one call on a target, and what the target's allocator makes of it.

    All that `Trace` has is there: ``events``, ``allocations`` with their lines, ``unseen``,
    ``host``, ``pinned``, ``kept``, ``peak()``.

    Attributes:
        target: whom it is for, ``cuda:sm_90``.
        peaks: the four figures at their largest (``requested_bytes``, ``allocated_bytes``,
            ``active_bytes``, ``reserved_bytes``), the call's inputs not among them. Bounds are
            counted in full.
    """

    target: str = "generic"
    peaks: AllocatorPeaks = field(default_factory=lambda: AllocatorPeaks(0, 0, 0, 0))

    @property
    def peak_requested_bytes(self) -> int:
        """The most that is asked for at a time; at most, where `is_bound`."""
        return self.peaks.requested_bytes

    @property
    def peak_allocated_bytes(self) -> int:
        """The blocks that serve it."""
        return self.peaks.allocated_bytes

    @property
    def peak_reserved_bytes(self) -> int:
        """The segments that are taken from the driver for it, from nothing."""
        return self.peaks.reserved_bytes

    @property
    def least_requested_bytes(self) -> int:
        """The same peak without what kernels take inside at most: what is sure to be asked for."""
        return self.without(lambda allocation: allocation.is_bound).peak().num_bytes

    @property
    def is_bound(self) -> bool:
        """Whether some request stands for what a kernel takes inside at most."""
        return any(allocation.is_bound for allocation in self.allocations)

    def to_json(self) -> dict[str, Any]:
        """The trace as JSON values, its target and its peaks."""
        peaks = {name: getattr(self.peaks, name) for name in AllocatorPeaks.__slots__}
        return {**Trace.to_json(self), "target": self.target, "peaks": peaks}


def predict(
    build: Callable[..., Any],
    sizes: Mapping[str, int],
    *,
    target: str | None = None,
    in_child: bool = False,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
) -> Prediction:
    """What ``build(sizes, device)()`` will ask of a device, on a machine without one.

    The code runs with tensors that have sizes and no memory. Gradients are as it leaves them.

    Args:
        build: makes the inputs and returns the call, as for `oom_suite.memory_law`.
        sizes: the values that it gets, ``{"num_tokens": 8}``.
        target: the device, in which the code believes: ``"cuda:sm_90"``, ``"rocm:gfx942"``,
            ``"cpu"``, a device's name, or ``"generic"``; where not given the device that is there,
            and without one ``"rocm:gfx942"``.
        in_child: whether it runs in a process of its own, which may crash or hang alone. That
            takes a function of a file; what a notebook defines runs in this process.
        time_limit_s: seconds that the child may take.

    Raises:
        UsageError: the arguments cannot be used.
        LaneError: the code cannot be run without its device, or raised.

    Does not prove: what the shadow lane does not; ``unseen`` names what may take more.
    """
    target = target or default_target()
    device, lane = target_of(target), lane_of(target)
    checked = checked_sizes("sizes", sizes)
    program = program_of(build, in_child=in_child)
    with Session(Limits(time_limit_s=time_limit_s)) as session:
        runs = session.open(program, name_of(build), target=target)
        trace = runs.known(checked, lane.scratch)
    return prediction(trace, device)


def prediction(trace: Trace, target: Target) -> Prediction:
    """A trace of the shadow lane as what it says of its target. A CPU's heap is not modelled."""
    own = {name: getattr(trace, name) for name in Trace.__slots__}
    peaks = peaks_of(trace)
    if target.backend == "cpu":
        peaks = AllocatorPeaks(*(peaks.requested_bytes,) * len(AllocatorPeaks.__slots__))
    return Prediction(**own, target=target.name, peaks=peaks)


def lane_of(text: str) -> LaneSpec:
    """The lane that predicts a target, with what its kernels take inside where that is known.

    Args:
        text: the target as a user spells it; a device's name brings its own memory.

    Raises:
        UsageError: there is no such target.
    """
    found = target_of(text)
    has_kernels = found.backend in {"cuda", "rocm"}
    scratch = "cuda" if found.name == "cuda:sm_90" else found.name
    return LaneSpec("shadow", target=text, scratch=scratch if has_kernels else "")


def program_of(build: Callable[..., Any], *, in_child: bool = False) -> Program:
    """The builder as a program of this process, or as one that a child can find.

    Raises:
        UsageError: it is no builder; or none that a child could find.
    """
    declaration = declaration_of(build)
    function = build if declaration is None else declaration.build
    _require_builder(function)
    if not in_child:
        return CallableProgram(function, Path.cwd())
    if multiprocessing.current_process().name == CHILD_NAME:
        raise UsageError(
            "this process is a child of the suite already: put what asks for children under "
            'if __name__ == "__main__":'
        )
    file = getattr(getattr(function, "__code__", None), "co_filename", "")
    qualname = getattr(function, "__qualname__", "<")
    if "<" in qualname or not Path(file).is_file():
        raise UsageError(
            f"in_child: {name_of(build)} cannot be found by another process: define it at the top "
            "of a file, or leave in_child out"
        )
    module = _MAIN_IN_A_CHILD if function.__module__ == _MAIN else function.__module__
    return BuilderProgram(file, module, qualname, str(Path.cwd()))


def name_of(build: object) -> str:
    """What a builder is called in messages."""
    return getattr(build, "__name__", type(build).__name__)


def _require_builder(build: object) -> None:
    """Nothing, where it can be called as ``build(sizes=..., device=...)``."""
    if not callable(build):
        raise UsageError(f"build: {build!r} is not a function: give one of sizes and device")
    try:
        inspect.signature(build).bind(**dict.fromkeys(BUILDER_PARAMETERS))
    except TypeError as error:
        raise UsageError(
            f"build: {name_of(build)} cannot be called with sizes and device: {error}"
        ) from None
