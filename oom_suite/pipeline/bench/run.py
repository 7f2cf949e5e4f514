"""Times every subject at every shape: at each shape one subject after the other, on one GPU."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from oom_suite.errors import LaneError, OomSuiteError, UsageError, unknown
from oom_suite.pipeline.bench.shapes import (
    DENSE,
    FLASH_MLA,
    PARTS,
    PEERS,
    SPELLINGS,
    SUBJECTS,
    is_timed_at,
    shapes,
)
from oom_suite.pipeline.bench.timing import REFUSED, Describe, Load, Time
from oom_suite.pipeline.session import Limits, Session
from oom_suite.processes.child import ChildError
from oom_suite.records.bench import UNTIMED, Bench, BenchRow, Shape, Timing
from oom_suite.subjects import obtain, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from oom_suite.processes.protocol import Asker

    Start = Callable[[], Asker]
    OnBench = Callable[[Bench], None]
    OnProgress = Callable[[str, str], None]

TIME_LIMIT_S = 300.0
"""Seconds that one subject may take at one shape, kernels compiled and all."""
_MADE_HERE = frozenset({DENSE, FLASH_MLA})
"""Subjects that no spelling stands for."""
_HERE = "here"
"""The child of all that needs no tree of a release."""


class NoGpuError(LaneError):
    """There is no GPU to time anything on."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is timed.

    Attributes:
        parts: of the benchmark, in any order.
        subjects: of each part, in the order that they are timed in.
    """

    parts: tuple[str, ...]
    subjects: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, only: Sequence[str] = (), subjects: Sequence[str] = (), peers: Sequence[str] = ()
    ) -> Options:
        """The options that a command line gives.

        Args:
            only: the parts; all where none is given.
            subjects: what is timed, and not the usual ones of the part.
            peers: whose decode steps and prefills are timed beside, and not the usual ones'.

        Raises:
            UsageError: there is no such part, a subject that could be of several parts, one that
                cannot be read, or one that no part calls.
        """
        for name in only:
            if name not in PARTS:
                raise unknown("part", name, PARTS)
        parts = tuple(part for part in PARTS if part in (only or PARTS))
        wanted = {part: SUBJECTS[part] for part in parts}
        if subjects:
            wanted = {part: tuple(s for s in subjects if s in SUBJECTS[part]) for part in parts}
            _share_out([s for s in subjects if not _is_known(s)], parts, wanted)
            if unused := [s for s in subjects if all(s not in each for each in wanted.values())]:
                raise UsageError(
                    f"--subject {unused[0]} is timed by none of {', '.join(parts)}: "
                    "choose another part with --only"
                )
        for peer in peers:
            parse(peer)
        with_peers = [part for part in PEERS if wanted.get(part)]
        if peers and not with_peers:
            msg = f"--peer {peers[0]}: peers are timed for {' and '.join(PEERS)}"
            raise UsageError(f"{msg}, and nothing of these is asked for")
        for part in with_peers:
            beside = tuple(peers) if peers else () if subjects else PEERS[part]
            wanted[part] = tuple(dict.fromkeys((*wanted[part], *beside)))
        return cls(parts, {part: each for part, each in wanted.items() if each})


def _is_known(subject: str) -> bool:
    return any(subject in each for each in SUBJECTS.values())


def _share_out(
    spelled: Sequence[str], parts: tuple[str, ...], wanted: dict[str, tuple[str, ...]]
) -> None:
    for subject in spelled:
        parse(subject)
        if len(parts) > 1:
            msg = f"--subject {subject}: say with --only which of {', '.join(parts)} it is for"
            raise UsageError(msg)
        wanted[parts[0]] = (*wanted[parts[0]], subject)


def bench(
    options: Options,
    on_bench: OnBench = lambda _: None,
    on_progress: OnProgress = lambda *_: None,
) -> Bench:
    """Times and memory of all that is asked for, in processes that see the GPU.

    Args:
        options: what is timed.
        on_bench: is given all that is known, after each shape.
        on_progress: is told a shape and the subject that is timed there.

    Raises:
        NoGpuError: there is no GPU here.
    """
    with Session(Limits(TIME_LIMIT_S)) as session:

        def start() -> Asker:
            return session.child(imports=("oom_suite.pipeline.bench.timing",), needs_gpu=True)

        return Benchmark(options, start, on_bench, on_progress).run()


class Benchmark:
    """A run of the benchmark.

    A release has a child of its own: two trees of one package do not fit into a process. A child
    whose capture was refused is not used again.

    Args:
        options: what is timed.
        start: gives an asker with a GPU, whose process begins with its first request.
        on_bench: as of `bench`.
        on_progress: as of `bench`.
    """

    def __init__(
        self, options: Options, start: Start, on_bench: OnBench, on_progress: OnProgress
    ) -> None:
        """Start nothing yet."""
        self._options, self._start = options, start
        self._on_bench, self._on_progress = on_bench, on_progress
        self._askers: dict[str, Asker] = {}
        self._refused: dict[str, str] = {}
        self._found = Bench()

    def run(self) -> Bench:
        """All of it.

        Raises:
            NoGpuError: there is no GPU here.
        """
        device = self._asker(_HERE).ask(Describe())
        if isinstance(device, str):
            raise NoGpuError(f"{device}, and times are a GPU's: run it where there is one")
        self._note(replace(self._found, device=device))
        loads, absent = self._loads()
        self._note(replace(self._found, absent=absent))
        for shape in shapes(self._options.parts):
            row = self._row(shape, loads.get(shape.part, []), device.l2_bytes)
            if row.timings:
                self._note(replace(self._found, rows=(*self._found.rows, row)))
        return self._found

    def _note(self, found: Bench) -> None:
        self._found = found
        self._on_bench(found)

    def _asker(self, subject: str) -> Asker:
        if subject not in self._askers:
            self._askers[subject] = self._start()
        return self._askers[subject]

    def _loads(self) -> tuple[dict[str, list[Load]], dict[str, str]]:
        """The subjects of each part that can be timed, and why the others cannot."""
        found: dict[str, list[Load]] = {}
        absent: dict[str, str] = {}
        for part, subjects in self._options.subjects.items():
            for subject in subjects:
                self._on_progress(part, f"loading {subject}")
                try:
                    load = Load(subject, part, _root_of(subject))
                    why = self._asker(_place_of(load)).ask(load)
                except OomSuiteError as error:
                    why = str(error)
                if why:
                    absent[f"{subject} for {part}"] = why
                else:
                    found.setdefault(part, []).append(load)
        return found, absent

    def _row(self, shape: Shape, loads: Sequence[Load], l2_bytes: int) -> BenchRow:
        wanted = [one for one in loads if is_timed_at(one.subject, shape)]
        timings = []
        for load in wanted:
            self._on_progress(shape.part, f"{shape.name}: {load.subject}")
            timings.append(self._timing(Time(load, shape, l2_bytes)))
        return BenchRow(shape, tuple(timings))

    def _timing(self, request: Time) -> Timing:
        """By a graph where one can be captured; by events, with why, where none can."""
        load = request.subject
        asker = self._asker(_place_of(load))
        try:
            if load.subject not in self._refused:
                found = asker.ask(request)
                if not found.note.startswith(REFUSED):
                    return found
                asker.close()
                self._refused[load.subject] = found.note
            found = asker.ask(replace(request, uses_graph=False))
        except ChildError as error:
            return Timing(load.subject, UNTIMED, note=str(error))
        return replace(found, note=found.note or self._refused[load.subject])


def _root_of(subject: str) -> Path | None:
    return None if subject in _MADE_HERE else obtain(parse(_spelled(subject)))


def _spelled(subject: str) -> str:
    return SPELLINGS.get(subject, subject)


def _place_of(load: Load) -> str:
    return _HERE if load.root is None else load.subject
