"""Threads that work through what is to be tried, each with a child process of its own."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.pipeline.children import PRELOAD
from oom_suite.processes.child import Child, ChildError
from oom_suite.processes.respawning import Respawning
from oom_suite.safety.child_client import replace_spoiled
from oom_suite.selfcheck.faults.record import LAW

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oom_suite.records.selfcheck import Trial
    from oom_suite.selfcheck.tasks import Task

    OnTrial = Callable[[Trial], None]
    Work = Callable[[Respawning], Sequence[Trial]]

_PRELOADED = (*PRELOAD, "oom_suite.selfcheck.child", "oom_suite.selfcheck.warm")
_OPEN = "INCONCLUSIVE"
_LEAVES_A_CAPTURE = "capture"
"""The detector after whose FAIL a GPU's allocator may stand in the middle of a capture."""


@dataclass(frozen=True, slots=True)
class ChildOptions:
    """How children are started.

    Attributes:
        device: where real tensors lie.
        time_limit_s: seconds that one request may take.
        weakened: see `oom_suite.selfcheck.child.make_handler`.
    """

    device: str
    time_limit_s: float
    weakened: str

    def start(self) -> Respawning:
        """A child that is started with its first request."""
        return Respawning(self._child)

    def _child(self) -> Child:
        return Child(
            "oom_suite.selfcheck.child:make_handler",
            (self.weakened,),
            time_limit_s=self.time_limit_s,
            preload=_PRELOADED,
            needs_gpu=self.device != "cpu",
        )


@dataclass(frozen=True, slots=True)
class Share:
    """Work that some threads share.

    Attributes:
        work: in the order to begin it; each is given a thread's own child.
        num_children: threads, each with a child.
        options: of their children.
    """

    work: Sequence[Work]
    num_children: int
    options: ChildOptions


def try_all(shares: Sequence[Share], on_trial: OnTrial) -> list[Trial]:
    """What was found of all shares, which are worked on at once, in the order that it was found.

    Args:
        shares: the work.
        on_trial: is given each trial, on the thread that made it.
    """
    found: list[Trial] = []
    failures: list[BaseException] = []
    threads = []
    for share in shares:
        waiting: queue.SimpleQueue[Work] = queue.SimpleQueue()
        for work in share.work:
            waiting.put(work)

        def run(waiting: queue.SimpleQueue[Work] = waiting, share: Share = share) -> None:
            try:
                with share.options.start() as child:
                    while not failures:
                        for trial in waiting.get_nowait()(child):
                            found.append(trial)
                            on_trial(trial)
            except queue.Empty:
                return
            except BaseException as error:
                failures.append(error)

        threads += [threading.Thread(target=run) for _ in range(share.num_children)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return found


def try_task(task: Task, options: ChildOptions, child: Respawning) -> tuple[Trial, ...]:
    """The task's trials in that child; of a subject that keeps state, in a child of its own."""
    ask = trials_of if options.device == "cpu" else trials_on_gpu
    if not task.subject.is_stateful:
        return ask(task, child)
    # The law's runs are forks, each with a state of its own: they leave nothing in the child.
    by_law = trials_of(task.only(LAW), child) if LAW in task.detectors else ()
    others = task.without(LAW)
    if not others.detectors:
        return by_law
    with options.start() as own:
        return (*by_law, *trials_of(others, own))


def trials_of(task: Task, child: Respawning) -> tuple[Trial, ...]:
    """What a child found of the task; where it died, that nothing could be judged."""
    began = time.monotonic()
    try:
        found: tuple[Trial, ...] = child.ask(task)
    except ChildError as error:
        elapsed_ms = round(1000 * (time.monotonic() - began))
        reason = f"{error.outcome.value}: {error}"
        return tuple(
            task.subject.trial(detector, _OPEN, (), reason, elapsed_ms)
            for detector in task.detectors
        )
    return found


def trials_on_gpu(task: Task, child: Respawning) -> tuple[Trial, ...]:
    """The same of a child that uses a GPU.

    After each task the child is asked whether its GPU can still be used, and replaced where it
    cannot. A task that was INCONCLUSIVE in a child that others had used is tried once more in a
    new one.
    """
    was_used = child.is_alive
    found = trials_of(task, child)
    if was_used and any(one.verdict == _OPEN for one in found):
        child.replace()
        found = trials_of(task, child)
    if any(one.detector == _LEAVES_A_CAPTURE and one.verdict != "PASS" for one in found):
        child.replace()
    else:
        replace_spoiled(child)
    return found
