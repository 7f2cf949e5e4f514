"""A session: every process that a run of the suite starts.

Whoever judges opens a program here and asks for runs of it; nobody else starts a child that runs
code under test in a lane.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from oom_suite import doors
from oom_suite.errors import OomSuiteError, TimeSpentError
from oom_suite.pipeline.runs import Runs
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S, silent
from oom_suite.processes.askers import Respawning
from oom_suite.processes.child import Child
from oom_suite.targets.free_memory import FreeMemoryOf
from oom_suite.tracing.lane_spec import LaneSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oom_suite.pipeline.programs import Program
    from oom_suite.pipeline.settings import OnProgress, Settings
    from oom_suite.targets.free_memory import FreeMemory

PRELOAD = (
    "oom_suite.processes.server",
    "oom_suite.pipeline.fresh",
    "oom_suite.pipeline.law_tests.decorator",
    "oom_suite.tracing.prove",
    "oom_suite.tracing.lanes",
    # Whatever is run, a child asks the doors for it: their own plugins, and what those load.
    *doors.OWN,
    "oom_suite.subjects.source",
    "oom_suite.workloads.sparse_mla.step",
    "oom_suite.torch_compat.compiler",
    # Last: what is loaded by its end is kept from the collector of every child.
    "oom_suite.tracing.warm",
)
"""What the server that children are forked from imports once: the same for whoever starts it."""

_SPENT = "the {limit_s:g} s of the whole test are over"
_AGAIN_S = 0.05
"""Seconds after which children are ended again: one may just have been started."""

_IMPORTS = {
    "shadow": ("oom_suite.tracing.lanes", "oom_suite.tracing.shadow"),
    "prove": ("oom_suite.tracing.lanes", "oom_suite.tracing.prove"),
    "measure": ("oom_suite.tracing.lanes", "oom_suite.tracing.measure"),
}
"""What a child imports before the time of its first request counts."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may take.

    Attributes:
        time_limit_s: seconds that one run may take.
        memory_limit_bytes: address space that one child may add; None for no limit.
        whole_limit_s: seconds that the session may last; None for no limit.
    """

    time_limit_s: float = DEFAULT_TIME_LIMIT_S
    memory_limit_bytes: int | None = None
    whole_limit_s: float | None = None


class Session:
    """Starts children with the same limits, and ends them all when it is closed."""

    def __init__(self, limits: Limits | None = None, on_progress: OnProgress = silent) -> None:
        self._limits = limits or Limits()
        self._on_progress = on_progress
        self._undo = contextlib.ExitStack()
        self._children: list[Respawning] = []
        self._is_over = threading.Event()
        self._is_spent = threading.Event()

    @classmethod
    def of(cls, settings: Settings, on_progress: OnProgress = silent) -> Self:
        """A session with the limits that these settings name."""
        limits = Limits(settings.time_limit_s, settings.memory_limit_bytes, settings.whole_limit_s)
        return cls(limits, on_progress)

    def __enter__(self) -> Self:
        """The session; its time begins."""
        if self._limits.whole_limit_s is not None:
            watch = threading.Thread(target=self._end_in_time, daemon=True)
            self._undo.callback(watch.join)
            self._undo.callback(self._is_over.set)
            watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End every child that it started."""
        self._undo.close()

    def open(
        self,
        program: Program,
        name: str,
        lane: LaneSpec | None = None,
        *,
        target: str | None = None,
    ) -> Runs:
        """Runs of a program; closed with the session, or before.

        Args:
            program: what is run. A `CallableProgram` runs in this process.
            name: what it is called in progress lines.
            lane: device and headroom of its measure lane; a CPU with all its memory by default.
                Its target is what the other lanes predict.
            target: what they predict instead.
        """
        lane = lane or LaneSpec("measure")
        runs = Runs(self, program, name, replace(lane, target=target or lane.target))
        self._undo.callback(runs.close)
        return runs

    def asker(self, lane: LaneSpec) -> Respawning:
        """A child for a lane, started when it is first asked."""
        return self.child(
            imports=_IMPORTS[lane.name], needs_gpu=lane.name == "measure" and lane.device != "cpu"
        )

    def child(
        self,
        *,
        imports: tuple[str, ...] = (),
        preload: tuple[str, ...] = (),
        needs_gpu: bool = False,
    ) -> Respawning:
        """A child for any requests, started when it is first asked.

        Args:
            imports: modules that it imports before the time of its first request counts.
            preload: modules that the server of all children imports beside `PRELOAD`, where it
                is not running yet.
            needs_gpu: whether it is started afresh, with the GPUs in its sight.
        """
        asker = Respawning(
            lambda: Child(
                time_limit_s=self._limits.time_limit_s,
                memory_limit_bytes=self._limits.memory_limit_bytes,
                imports=imports,
                preload=(*PRELOAD, *preload),
                needs_gpu=needs_gpu,
            )
        )
        self._undo.callback(asker.close)
        self._children.append(asker)
        return asker

    @contextlib.contextmanager
    def in_time(self) -> Iterator[None]:
        """Around a request: one that cannot be answered because the time is over says so.

        Raises:
            TimeSpentError: all the time that the session may take is over.
        """
        self._raise_if_spent()
        try:
            yield
        except OomSuiteError:
            self._raise_if_spent()
            raise

    def _raise_if_spent(self) -> None:
        if self._is_spent.is_set():
            raise TimeSpentError(_SPENT.format(limit_s=self._limits.whole_limit_s))

    def _end_in_time(self) -> None:
        """Wait until the time is over, and end the children then, those being started too."""
        if self._is_over.wait(self._limits.whole_limit_s):
            return
        self._is_spent.set()
        while not self._is_over.wait(_AGAIN_S):
            for child in self._children:
                child.kill()

    def free_memory(self, device: str) -> FreeMemory:
        """What a device has free now. A child asks: a context on a GPU would hold memory there.

        Raises:
            ChildError: the device cannot be asked.
        """
        asker = self.child(imports=("oom_suite.targets.free_memory",), needs_gpu=device != "cpu")
        try:
            return asker.ask(FreeMemoryOf(device))
        finally:
            asker.close()

    def report(self, name: str, message: str) -> None:
        """Say what a program is doing."""
        self._on_progress(name, message)
