"""Tries every task in a few child processes, and finds the smallest growth that is seen."""

from __future__ import annotations

import os
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oom_suite.pipeline.session import Limits, Session
from oom_suite.records.safety import PROPERTIES
from oom_suite.records.selfcheck import LIMIT_GROUP, REQUIRED_BLOCKS_A_BYTE, Seen, SelfCheck
from oom_suite.selfcheck.child_client import asked, asked_on_gpu
from oom_suite.selfcheck.faults.record import LAW
from oom_suite.selfcheck.tasks import Task, growing, tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oom_suite.processes.askers import Respawning

    OnSeen = Callable[[Seen], None]

_CHILD, _WARM = "oom_suite.selfcheck.child", "oom_suite.selfcheck.warm"
_MAX_CHILDREN = 8
_NUM_FAR_POOLS = 2
"""Children at once that have far pools on a GPU, two of 8 GiB each."""
_LARGEST_EXPONENT = 22
"""One byte for 2**22 blocks is more than any pool that is tried has."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the self-check is run.

    Attributes:
        only: a group, or None for all.
        device: where real tensors lie.
        num_children: processes at once.
        time_limit_s: seconds that one subject may take.
        weakened: see `oom_suite.selfcheck.child.Try`.
    """

    only: str | None = None
    device: str = "cpu"
    num_children: int = min(_MAX_CHILDREN, os.cpu_count() or 1)
    time_limit_s: float = 300.0
    weakened: str = ""


def selfcheck(options: Options, on_seen: OnSeen = lambda _: None) -> SelfCheck:
    """What the detectors see of all planted faults and healthy twins.

    Args:
        options: how it is run.
        on_seen: told each thing seen, on the thread that saw it.

    Raises:
        UsageError: there is no such group.
    """
    began = time.monotonic()
    wanted = tasks(options.only, options.device)
    has_limit = options.only in {None, LIMIT_GROUP}
    with ThreadPoolExecutor(max_workers=1) as pool:
        # It asks one question after another: after the rest, it would leave all cores but one idle.
        limit = pool.submit(_limit, options, on_seen) if has_limit else None
        seen = _in_order(wanted, _try_all(wanted, options, on_seen))
        blocks_a_byte, is_bounded = (None, False) if limit is None else limit.result()
    elapsed_ms = round(1000 * (time.monotonic() - began))
    return SelfCheck(options.device, seen, blocks_a_byte, is_bounded, elapsed_ms)


def _in_order(wanted: Sequence[Task], seen: Sequence[Seen]) -> tuple[Seen, ...]:
    keys = [(task.subject.name, detector) for task in wanted for detector in task.detectors]
    places = {key: number for number, key in enumerate(keys)}
    return tuple(sorted(seen, key=lambda one: places[one.name, one.detector]))


def _try_all(wanted: Sequence[Task], options: Options, on_seen: OnSeen) -> list[Seen]:
    """Every task, by a few threads that have a child each."""
    crews = [_Crew(wanted, options)]
    if options.device != "cpu":
        crews = _crews_on_gpu(wanted, options)
    seen: list[Seen] = []
    failures: list[BaseException] = []
    threads = [
        threading.Thread(target=crew.work, args=(seen, failures, on_seen))
        for crew in crews
        for _ in range(crew.options.num_children)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return seen


def _crews_on_gpu(wanted: Sequence[Task], options: Options) -> list[_Crew]:
    """Who tries what, all at once.

    Laws need no device: their children are forked and start at once. Addresses need memory: a
    few children have it at a time.
    """
    on_cpu = replace(options, device="cpu", num_children=max(1, options.num_children // 2))
    of_memory = replace(options, num_children=min(_NUM_FAR_POOLS, options.num_children))
    rest = tuple(name for name in PROPERTIES if name != "addresses")
    return [
        _Crew(_only(wanted, rest), options),
        _Crew(_only(wanted, ("addresses",)), of_memory),
        _Crew(_only(wanted, (LAW,)), on_cpu),
    ]


def _only(wanted: Sequence[Task], detectors: tuple[str, ...]) -> list[Task]:
    return [
        replace(task, detectors=tuple(name for name in task.detectors if name in detectors))
        for task in wanted
    ]


class _Crew:
    """Tasks, and what each of the threads does that share them."""

    def __init__(self, wanted: Sequence[Task], options: Options) -> None:
        """Queue the tasks that have anything to try."""
        self.options = options
        self._waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
        for task in wanted:
            if task.detectors:
                self._waiting.put(task)

    def work(self, seen: list[Seen], failures: list[BaseException], on_seen: OnSeen) -> None:
        """Try one task after another until none is left, or another thread has failed."""
        try:
            with _session(self.options) as session:
                shared = _child(session, self.options)
                while not failures:
                    for one in _tried(self._waiting.get_nowait(), session, shared, self.options):
                        seen.append(one)
                        on_seen(one)
        except queue.Empty:
            return
        except BaseException as error:
            failures.append(error)


def _session(options: Options) -> Session:
    return Session(Limits(options.time_limit_s))


def _child(session: Session, options: Options) -> Respawning:
    return session.child(
        imports=(_CHILD,), preload=(_CHILD, _WARM), needs_gpu=options.device != "cpu"
    )


def _tried(task: Task, session: Session, shared: Respawning, options: Options) -> tuple[Seen, ...]:
    ask = asked if options.device == "cpu" else asked_on_gpu
    if not task.subject.is_stateful:
        return ask(task, shared, options.weakened)
    # The law's runs are forks, each with a state of its own: they leave nothing in the child.
    by_law = (
        asked(replace(task, detectors=(LAW,)), shared, options.weakened)
        if LAW in task.detectors
        else ()
    )
    others = tuple(detector for detector in task.detectors if detector != LAW)
    if not others:
        return by_law
    with _child(session, options) as own:
        return (*by_law, *asked(replace(task, detectors=others), own, options.weakened))


def _limit(options: Options, on_seen: OnSeen) -> tuple[int, bool]:
    """The most blocks for which one byte of growth is caught, and whether more were missed.

    Halves the exponent: what sees one byte for so many blocks sees it for fewer.
    """
    required = REQUIRED_BLOCKS_A_BYTE.bit_length() - 1
    with _session(options) as session:
        child = _child(session, replace(options, device="cpu"))

        def is_caught(exponent: int) -> bool:
            (seen,) = asked(growing(1 << exponent), child, options.weakened)
            on_seen(seen)
            return seen.is_right

        if not is_caught(required):
            least = next((n for n in range(required - 1, -1, -1) if is_caught(n)), None)
            return (0 if least is None else 1 << least), True
        caught, missed = required, _LARGEST_EXPONENT
        while missed - caught > 1:
            middle = (caught + missed) // 2
            caught, missed = (middle, missed) if is_caught(middle) else (caught, middle)
    return 1 << caught, True
