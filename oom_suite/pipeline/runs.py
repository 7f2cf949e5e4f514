"""Runs of one program: a child for each lane, every exact trace kept, and the device's turn."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from oom_suite.pipeline.fresh import Repeat, RunAfresh
from oom_suite.pipeline.programs import CallableProgram, Prove, Run, SubjectProgram
from oom_suite.processes.askers import InThisProcess, Respawning
from oom_suite.tracing.lane_spec import MOST, LaneSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.pipeline.programs import Program
    from oom_suite.pipeline.session import Session
    from oom_suite.processes.protocol import Answer, Asker, Request
    from oom_suite.records import Trace, Workload
    from oom_suite.records.kept import RepeatedCalls
    from oom_suite.records.symbolic import Hints, SymbolicTrace

_device_turn = threading.Lock()
"""One call of this process is on a device at a time, whichever session asks for it."""


class Runs:
    """Runs of one program, each lane in a child of its own, every exact trace kept.

    From `Session.open`. A context manager that ends its children.

    Attributes:
        choice: how much of what data may choose exact runs take: all of it, until somebody who
            tried others says which is the worst.
    """

    def __init__(self, session: Session, program: Program, name: str, device: LaneSpec) -> None:
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
        return self

    def __exit__(self, *error: object) -> None:
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

    def known(
        self,
        sizes: Mapping[str, int],
        scratch: str = "",
        *,
        target: str | None = None,
        choice: str = "",
    ) -> Trace:
        """The exact trace of the first run at these sizes; run now where there was none.

        Args:
            sizes: the axes' values.
            scratch: whose kernels' own scratch it has, see `LaneSpec`.
            target: which machine it is for, see `LaneSpec`; the law's where not given.
            choice: how much of what data may choose it takes; that of all runs where not given.

        Raises:
            ChildError: the code cannot be run.
        """
        lane = replace(self._law, scratch=scratch, target=target or self._law.target)
        choice = choice or self.choice
        return self._traces.get((choice, lane, _key(sizes))) or self._shadow(sizes, lane, choice)

    def _shadow(self, sizes: Mapping[str, int], lane: LaneSpec, choice: str) -> Trace:
        if self._is_fresh and choice == MOST:
            return self.afresh(sizes, lane.scratch, target=lane.target)[0]
        trace = self._ask(lane, Run(self._program, lane, dict(sizes), choice))
        self._traces.setdefault((choice, lane, _key(sizes)), trace)
        return trace

    def afresh(
        self, sizes: Mapping[str, int], scratch: str = "", *, target: str | None = None
    ) -> tuple[Trace, ...]:
        """The exact traces of two calls in a process that has made no other; made once.

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
        with self._session.in_time():
            return self._asker(lane).ask(request)

    def _asker(self, lane: LaneSpec) -> Asker:
        if lane not in self._askers:
            self._askers[lane] = InThisProcess() if self.is_here else self._session.asker(lane)
        return self._askers[lane]


def _key(sizes: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(sizes.items()))
