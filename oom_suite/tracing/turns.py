"""Lets one thread at a time run an operator, in an order that is the same in every run.

A thread that wants to run an operator waits at a gate until every other thread of the run waits
there too, or waits for something else, or has ended. Of those at the gate the one that was
started last goes first. So a trace does not depend on which thread the system favours.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from oom_suite.tracing.overlaps import Overlaps, Position

_TASKS = Path("/proc/self/task")
_PROOF_S = 0.004
"""How long a thread must not have run, though it could have had the interpreter."""
_SWITCH_S = 0.0005
"""How often a thread that waits for the interpreter wakes up to ask for it."""
_POLL_S = 0.0003
_BLIND_S = 0.05
"""On a system without ``/proc``: a thread that asks for nothing for so long waits for something."""
_BUSY_S = 1.0
"""A thread that neither ends nor waits for so long may wait by asking again and again."""

ASLEEP: set[int | None] = set()
"""The threads that sleep, by ident: they wait for nobody, and go on by themselves."""
STARTING: set[int | None] = set()
"""The threads that start another one: they wait for it, and for nobody's turn."""

_sleep = time.sleep


class _Looked(NamedTuple):
    """What was seen of a thread that does not run."""

    num_switches: int
    since: float


class Waiting:
    """Tells which threads wait for something that is not the interpreter.

    A thread that waits for Python's interpreter lock wakes every `_SWITCH_S` to ask for it, which
    the system counts as a switch; one that waits for anything else does not.

    Source: CPython 3.11 ``Python/ceval_gil.h``, ``take_gil``; Linux ``proc(5)``,
    ``/proc/pid/task/tid/status``.
    """

    def __init__(self) -> None:
        self._looked: dict[int, _Looked] = {}

    def is_waiting(self, thread: threading.Thread) -> bool:
        """Whether it has ended, or waits until another thread or the system wakes it."""
        if not thread.is_alive():
            return True
        # After a fork the main thread still says what its number was before.
        is_main = thread is threading.main_thread()
        ident, number = thread.ident, os.getpid() if is_main else thread.native_id
        if ident is None or number is None or ident in STARTING:
            return False
        if ident in ASLEEP:
            return True
        found, now = _status(number), time.monotonic()
        looked = self._looked.get(ident)
        if found is None:
            self._looked.setdefault(ident, _Looked(0, now))
            return now - self._looked[ident].since >= _BLIND_S
        state, num_switches = found
        if state != "S" or looked is None or looked.num_switches != num_switches:
            self._looked[ident] = _Looked(num_switches if state == "S" else -1, now)
            return False
        return now - looked.since >= _PROOF_S

    def forget(self, ident: int) -> None:
        """A thread runs again."""
        self._looked.pop(ident, None)


def _status(number: int) -> tuple[str, int] | None:
    """A thread's state and how often it gave the processor away; None where nobody can tell."""
    try:
        text = (_TASKS / str(number) / "status").read_text(encoding="ascii", errors="replace")
    except OSError:
        # Gone in this moment, or no such system.
        return ("S", 0) if _TASKS.is_dir() else None
    _, _, rest = text.partition("\nState:\t")
    _, found, switches = rest.partition("\nvoluntary_ctxt_switches:\t")
    return (rest[:1], int(switches.partition("\n")[0])) if found else None


class _Hold(NamedTuple):
    """What others may still have taken, as seen by a thread that went on after them."""

    ident: int
    sources: set[int]
    held: list[tuple[int, int]]


class Turns:
    """The gate of one run.

    What threads do between two waits counts as done at once: when a thread stood at the gate
    while others ran, the most that they had in that time stays taken until it waits for them.

    Args:
        others: the threads that take part and are alive, but for the one that asks, each with
            the number in whose order they were started.
        overlaps: holds requests that another thread may not have freed yet.
    """

    def __init__(
        self, others: Callable[[], Iterable[tuple[threading.Thread, int]]], overlaps: Overlaps
    ) -> None:
        self._others = others
        self._overlaps = overlaps
        self._lock = threading.Lock()
        self._gate: dict[int, int] = {}
        self._inside = threading.local()
        self._last: dict[int, int] = {}
        self._num_passed = 0
        self._holds: list[_Hold] = []
        self._spinning: set[int] = set()
        self._settling: set[int] = set()
        self.waiting = Waiting()

    def enter(self, number: int) -> None:
        """Wait for this thread's turn; at once where it runs an operator already."""
        depth = getattr(self._inside, "depth", 0)
        self._inside.depth = depth + 1
        if depth:
            return
        ident = threading.get_ident()
        since, num_passed = self._overlaps.position(), self._num_passed
        with self._lock:
            self._gate[ident] = number
        try:
            self._until(ident, lambda: self._goes(ident, number))
        except BaseException:
            self._inside.depth = 0
            raise
        finally:
            self._gate.pop(ident, None)
        self._spinning.discard(ident)
        self._went_on(ident, since, num_passed)

    @property
    def num_threads(self) -> int:
        """How many threads had a turn."""
        return len(self._last)

    def leave(self) -> None:
        """The operator is done."""
        self._inside.depth -= 1

    def settle(self) -> None:
        """Return when every other thread stands at the gate, waits or has ended."""
        ident = threading.get_ident()
        self._settling.add(ident)
        try:
            self._until(ident, lambda: self._are_quiet(ident, self._settling))
        finally:
            self._settling.discard(ident)

    def finish(self, *, seconds: float) -> list[threading.Thread]:
        """Let the others go on until they wait or end; those that are still at work then.

        Args:
            seconds: how long they may sleep, or work without an operator.
        """
        ident = threading.get_ident()
        until = time.monotonic() + seconds
        with self._lock:
            # A thread that wants nothing more: all others go first.
            self._gate[ident] = -1
        try:
            while busy := self._busy():
                if time.monotonic() > until:
                    return busy
                _sleep(_POLL_S)
        finally:
            self._gate.pop(ident, None)
        self.release(ident)
        return []

    def release(self, ident: int, source: int | None = None) -> None:
        """A thread has waited for others.

        Args:
            ident: the thread.
            source: for whom; None for whoever may have woken it.
        """
        with self._lock:
            self._release(ident, source)

    def _release(self, ident: int, source: int | None = None) -> None:
        for hold in [hold for hold in self._holds if hold.ident == ident]:
            hold.sources.discard(source) if source is not None else hold.sources.clear()
            if not hold.sources:
                self._overlaps.release(hold.held)
                self._holds.remove(hold)

    def _until(self, ident: int, is_so: Callable[[], bool]) -> None:
        begin = time.monotonic()
        while True:
            with self._lock:
                if is_so():
                    self.waiting.forget(ident)
                    return
            _sleep(_POLL_S)
            if time.monotonic() - begin > _BUSY_S:
                begin = time.monotonic()
                self._spinning.update(
                    thread.ident or 0
                    for thread, _ in self._others()
                    if thread.ident not in self._gate
                )

    def _goes(self, ident: int, number: int) -> bool:
        first = all(number >= other for other in self._gate.values())
        if not (first and self._are_quiet(ident)):
            return False
        # Taken away here, under the lock: nobody else may see it at the gate and go as well.
        del self._gate[ident]
        return True

    def _are_quiet(self, ident: int, beside: Container[int | None] = ()) -> bool:
        return all(
            thread.ident in self._gate
            or thread.ident in self._spinning
            or thread.ident in beside
            or self.waiting.is_waiting(thread)
            for thread, _ in self._others()
            if thread.ident != ident
        )

    def _busy(self) -> list[threading.Thread]:
        """Other threads that will go on by themselves."""
        with self._lock:
            return [
                thread
                for thread, _ in self._others()
                if thread.ident in self._gate
                or thread.ident in ASLEEP
                or (isinstance(thread, threading.Timer) and not thread.finished.is_set())
                or not self.waiting.is_waiting(thread)
            ]

    def _went_on(self, ident: int, since: Position, num_passed: int) -> None:
        """Hold what others had while this thread stood at the gate, now that it goes on."""
        with self._lock:
            alive = {thread.ident for thread, _ in self._others()} | {ident}
            for other in {hold.ident for hold in self._holds} - {ident}:
                if other not in self._gate or other not in alive:
                    self._release(other)
            sources = {other for other, when in self._last.items() if when > num_passed}
            sources.discard(ident)
            if sources:
                held = self._overlaps.hold(since)
                if held:
                    self._holds.append(_Hold(ident, sources, held))
            self._num_passed += 1
            self._last[ident] = self._num_passed


class ShortSwitches:
    """While entered, a thread that waits for the interpreter asks for it often."""

    def __enter__(self) -> None:
        self._before = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_S)

    def __exit__(self, *error: object) -> None:
        sys.setswitchinterval(self._before)
