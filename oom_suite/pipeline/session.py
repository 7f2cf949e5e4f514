"""A session: every process that a run of the suite starts, the traces they gave, the device's turn.

Whoever judges opens a program here and asks for runs of it; nobody else starts a child that runs
code under test in a lane.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from oom_suite.pipeline.fresh import Repeat, RunAfresh
from oom_suite.pipeline.programs import CallableProgram, Prove, Run, SubjectProgram
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S, silent
from oom_suite.processes.askers import InThisProcess, Respawning
from oom_suite.processes.child import Child
from oom_suite.targets.free_memory import FreeMemoryOf
from oom_suite.tracing.lane_spec import MOST, LaneSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.pipeline.programs import Program
    from oom_suite.pipeline.settings import OnProgress, Settings
    from oom_suite.processes.protocol import Answer, Asker, Request
    from oom_suite.records import Trace, Workload
    from oom_suite.records.kept import RepeatedCalls
    from oom_suite.records.symbolic import Hints, SymbolicTrace
    from oom_suite.targets.free_memory import FreeMemory

PRELOAD = ("oom_suite.pipeline.fresh", "oom_suite.tracing.prove", "oom_suite.tracing.warm")
"""What the server that children are forked from imports once: the same for whoever starts it."""

_IMPORTS = {
    "shadow": ("oom_suite.tracing.lanes", "oom_suite.tracing.shadow"),
    "prove": ("oom_suite.tracing.lanes", "oom_suite.tracing.prove"),
    "measure": ("oom_suite.tracing.lanes", "oom_suite.tracing.measure"),
}
"""What a child imports before the time of its first request counts."""

_device_turn = threading.Lock()
"""One call of this process is on a device at a time, whichever session asks for it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may take.

    Attributes:
        time_limit_s: seconds that one run may take.
        memory_limit_bytes: address space that one child may add; None for no limit.
    """

    time_limit_s: float = DEFAULT_TIME_LIMIT_S
    memory_limit_bytes: int | None = None


class Session:
    """Starts children with the same limits, and ends them all when it is closed.

    Args:
        limits: what each child may take.
        on_progress: given what each program is doing.
    """

    def __init__(self, limits: Limits | None = None, on_progress: OnProgress = silent) -> None:
        """Start nothing yet."""
        self._limits = limits or Limits()
        self._on_progress = on_progress
        self._undo = contextlib.ExitStack()

    @classmethod
    def of(cls, settings: Settings, on_progress: OnProgress = silent) -> Self:
        """A session with the limits that these settings name."""
        return cls(Limits(settings.time_limit_s, settings.memory_limit_bytes), on_progress)

    def __enter__(self) -> Self:
        """The session."""
        return self

    def __exit__(self, *error: object) -> None:
        """End every child that it started."""
        self._undo.close()

    def open(self, program: Program, name: str, lane: LaneSpec | None = None) -> Runs:
        """Runs of a program; closed with the session, or before.

        Args:
            program: what is run. A `CallableProgram` runs in this process.
            name: what it is called in progress lines.
            lane: device and headroom of its measure lane; a CPU with all its memory by default.
                Its target is what the other lanes predict.
        """
        runs = Runs(self, program, name, lane or LaneSpec("measure"))
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
        return asker

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


class Runs:
    """Runs of one program, each lane in a child of its own, every exact trace kept.

    From `Session.open`. A context manager that ends its children.

    Attributes:
        choice: how much of what data may choose exact runs take: all of it, until somebody who
            tried others says which is the worst.
    """

    def __init__(self, session: Session, program: Program, name: str, device: LaneSpec) -> None:
        """Start nothing yet."""
        self._session = session
        self._program = program
        self._name = name
        self._on_device = device
        self._law = LaneSpec("shadow", target=device.target)
        self._proof = LaneSpec("prove", target=device.target)
        self._askers: dict[LaneSpec, Asker] = {}
        self._traces: dict[tuple[str, LaneSpec, tuple[tuple[str, int], ...]], Trace] = {}
        self._fresh: dict[tuple[LaneSpec, tuple[tuple[str, int], ...]], tuple[Trace, ...]] = {}
        self._symbolic: dict[object, SymbolicTrace] = {}
        self._repeated: dict[tuple[tuple[str, int], ...], RepeatedCalls] = {}
        self._is_fresh = False
        self._num_runs = 0
        self.choice = MOST

    def __enter__(self) -> Self:
        """The runs."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the children."""
        self.close()

    def close(self) -> None:
        """End the children; what they gave is kept."""
        for asker in self._askers.values():
            asker.close()
        self._askers.clear()

    def interrupt_proof(self) -> None:
        """End the run on symbols that another thread waits for."""
        asker = self._askers.get(self._proof)
        if isinstance(asker, Respawning):
            asker.kill()

    def with_workload(self, workload: Workload) -> Runs:
        """Runs of the same subject for another workload, in the same children."""
        assert isinstance(self._program, SubjectProgram)
        program = replace(self._program, workload=workload)
        other = Runs(self._session, program, self._name, self._on_device)
        other._askers = self._askers
        return other

    @property
    def is_here(self) -> bool:
        """Whether the program runs in this process, one lane after another."""
        return isinstance(self._program, CallableProgram)

    @property
    def device(self) -> str:
        """Where its measure lane runs."""
        return self._on_device.device

    @property
    def known_sizes(self) -> tuple[dict[str, int], ...]:
        """The sizes of every exact run that was made, the first one first."""
        own = (self.choice, self._law)
        return tuple(dict(sizes) for *kind, sizes in self._traces if tuple(kind) == own)

    def shadow(self, sizes: Mapping[str, int]) -> Trace:
        """The exact trace of a new run, which may differ where the code keeps state.

        Raises:
            ChildError: the code cannot be run.
        """
        self._num_runs += 1
        self._session.report(self._name, f"shadow run {self._num_runs}")
        return self._shadow(sizes, self._law, self.choice)

    def choosing(self, choice: str, sizes: Mapping[str, int]) -> Trace:
        """The exact trace of a run that takes so much of what data may choose.

        Raises:
            ChildError: the code cannot be run.
        """
        self._num_runs += 1
        self._session.report(self._name, f"shadow run {self._num_runs}")
        return self._known(sizes, self._law, choice)

    def known(
        self, sizes: Mapping[str, int], scratch: str = "", *, target: str | None = None
    ) -> Trace:
        """The exact trace of the first run at these sizes; run now where there was none.

        Args:
            sizes: the axes' values.
            scratch: whose kernels' own scratch it has, see `LaneSpec`.
            target: which machine it is for, see `LaneSpec`; the law's where not given.

        Raises:
            ChildError: the code cannot be run.
        """
        lane = replace(self._law, scratch=scratch, target=target or self._law.target)
        return self._known(sizes, lane, self.choice)

    def largest(
        self, sizes: Mapping[str, int], scratch: str = "", *, target: str | None = None
    ) -> Trace:
        """The exact trace of the most that a call takes at these sizes, as far as it is known.

        Arguments and errors are those of `known`.
        """
        found = self.known(sizes, scratch, target=target)
        if self.choice == MOST:
            return found
        lane = replace(self._law, scratch=scratch, target=target or self._law.target)
        all_of_it = self._known(sizes, lane, MOST)
        return max(found, all_of_it, key=lambda trace: trace.peak().num_bytes)

    def _known(self, sizes: Mapping[str, int], lane: LaneSpec, choice: str) -> Trace:
        known = self._traces.get((choice, lane, _key(sizes)))
        return known or self._shadow(sizes, lane, choice)

    def _shadow(self, sizes: Mapping[str, int], lane: LaneSpec, choice: str) -> Trace:
        if self._is_fresh and lane == self._law and choice == MOST:
            return self.afresh(sizes)[0]
        trace = self._ask(lane, Run(self._program, lane, dict(sizes), choice))
        self._traces.setdefault((choice, lane, _key(sizes)), trace)
        return trace

    def afresh(
        self, sizes: Mapping[str, int], scratch: str = "", *, target: str | None = None
    ) -> tuple[Trace, ...]:
        """The exact traces of two calls in a process that has made no other; made once.

        Args:
            sizes: the axes' values.
            scratch: as of `known`.
            target: as of `known`.

        Raises:
            ChildError: the code cannot be run.
        """
        lane = replace(self._law, scratch=scratch, target=target or self._law.target)
        key = (lane, _key(sizes))
        if key not in self._fresh:
            self._session.report(self._name, "it keeps state: shadow runs afresh")
            fresh = replace(lane, is_fresh=True)
            self._fresh[key] = self._ask(fresh, RunAfresh(self._program, fresh, dict(sizes)))
        if self._is_fresh:
            self._traces.setdefault((MOST, *key), self._fresh[key][0])
        return self._fresh[key]

    def repeated(self, sizes: Mapping[str, int]) -> RepeatedCalls:
        """What calls at the same sizes leave alive, in a process that has made no other.

        Raises:
            ChildError: the code cannot be run.
        """
        key = _key(sizes)
        if key not in self._repeated:
            self._session.report(self._name, "shadow runs repeated")
            lane = replace(self._law, is_fresh=True)
            self._repeated[key] = self._ask(lane, Repeat(self._program, lane, dict(sizes)))
        return self._repeated[key]

    def run_afresh(self) -> None:
        """From now on, make each exact run in a fork: none meets what another has left."""
        self._is_fresh = True

    def symbolic(self, hints: Hints) -> SymbolicTrace:
        """The trace of a run on symbols; each is made once.

        Raises:
            ChildError: the code cannot be run on symbols.
        """
        key = (_key(hints.sizes), hints.held, _key(hints.lower))
        if key not in self._symbolic:
            self._session.report(self._name, "proving")
            lane = self._proof
            self._symbolic[key] = self._ask(lane, Prove(self._program, lane, hints))
        return self._symbolic[key]

    def begin_measuring(self) -> None:
        """Start the child that measures, which imports torch while other lanes run."""
        asker = self._asker(self._on_device)
        if isinstance(asker, Respawning):
            asker.begin()

    def measured(self, sizes: Mapping[str, int], num_runs: int = 1) -> list[Trace]:
        """The traces of calls with real tensors; whoever measures beside waits for its turn.

        Args:
            sizes: the axes' values.
            num_runs: calls, one after the other.

        Raises:
            ChildError: the call ended its process, or raised.
        """
        self._session.report(self._name, f"measuring on {self.device}")
        request = Run(self._program, self._on_device, dict(sizes))
        with _device_turn:
            return [self._ask(self._on_device, request) for _ in range(num_runs)]

    def leave_device(self) -> None:
        """End the child that measured: it holds memory of the device."""
        asker = self._askers.get(self._on_device)
        if asker is not None:
            asker.close()

    def _ask(self, lane: LaneSpec, request: Request[Answer]) -> Answer:
        return self._asker(lane).ask(request)

    def _asker(self, lane: LaneSpec) -> Asker:
        if lane not in self._askers:
            self._askers[lane] = InThisProcess() if self.is_here else self._session.asker(lane)
        return self._askers[lane]


def _key(sizes: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(sizes.items()))
