"""Threads that work through what is to be tried, each with a child process of its own."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oom_suite.pipeline.safety_checks.check import IN_SHADOW
from oom_suite.pipeline.safety_checks.client import replace_spoiled
from oom_suite.pipeline.session import Limits, Session
from oom_suite.processes.child import ChildError
from oom_suite.selfcheck.faults.record import LAW

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oom_suite.processes.askers import Respawning
    from oom_suite.records.selfcheck import Trial
    from oom_suite.selfcheck.tasks import Task

    OnTrial = Callable[[Trial], None]
    Work = Callable[["Children"], Sequence[Trial]]

_CHILD, _WARM = "oom_suite.selfcheck.child", "oom_suite.selfcheck.warm"
_INCONCLUSIVE = "INCONCLUSIVE"
_LEAVES_A_CAPTURE = "capture"
"""The detector after whose FAIL a GPU's allocator may stand in the middle of a capture."""


@dataclass(frozen=True, slots=True)
class Share:
    """Work that some threads share.

    Attributes:
        work: in the order to begin it; each is given a thread's children.
        num_threads: at once.
        needs_gpu: whether their children use a GPU.
        time_limit_s: seconds that one task may take.
    """

    work: Sequence[Work]
    num_threads: int
    needs_gpu: bool
    time_limit_s: float


class Children:
    """A thread's children: one for most tasks, others for kernels and for what keeps state."""

    def __init__(self, session: Session, *, needs_gpu: bool) -> None:
        self._session = session
        self.needs_gpu = needs_gpu
        self.shared = self.another()
        # Interpreting is chosen before Triton is imported, and the server has imported it.
        self.interpreting = session.child(imports=(_CHILD,), needs_gpu=True)

    def another(self) -> Respawning:
        """A child that is started with its first request."""
        return self._session.child(
            imports=(_CHILD,), preload=(_CHILD, _WARM), needs_gpu=self.needs_gpu
        )


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
                with Session(Limits(share.time_limit_s)) as session:
                    children = Children(session, needs_gpu=share.needs_gpu)
                    while not failures:
                        for trial in waiting.get_nowait()(children):
                            found.append(trial)
                            on_trial(trial)
            except queue.Empty:
                return
            except BaseException as error:
                failures.append(error)

        threads += [threading.Thread(target=run) for _ in range(share.num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return found


def try_task(task: Task, children: Children) -> tuple[Trial, ...]:
    """The task's trials, in a child of its own where the subject keeps state.

    Kernels are interpreted for what is run for real on a CPU. With fake tensors nothing is run.
    """
    if task.subject.launches_kernels and task.device == "cpu":
        fake, real = task.only(LAW, *IN_SHADOW), task.without(LAW, *IN_SHADOW)
        found = trials_of(fake, children.shared) if fake.detectors else ()
        interpreted = replace(real, interprets=True)
        return (*found, *(trials_of(interpreted, children.interpreting) if real.detectors else ()))
    ask = trials_on_gpu if children.needs_gpu else trials_of
    if not task.subject.is_stateful:
        return ask(task, children.shared)
    # The law's runs are forks, each with a state of its own: they leave nothing in the child.
    by_law = trials_of(task.only(LAW), children.shared) if LAW in task.detectors else ()
    others = task.without(LAW)
    if not others.detectors:
        return by_law
    with children.another() as own:
        return (*by_law, *trials_of(others, own))


def trials_of(task: Task, child: Respawning) -> tuple[Trial, ...]:
    """What the child answers; where it died or raised, an INCONCLUSIVE trial for each detector."""
    began = time.monotonic()
    try:
        return child.ask(task)
    except ChildError as error:
        elapsed_ms = round(1000 * (time.monotonic() - began))
        return tuple(
            task.subject.trial(detector, _INCONCLUSIVE, (), str(error), elapsed_ms)
            for detector in task.detectors
        )


def trials_on_gpu(task: Task, child: Respawning) -> tuple[Trial, ...]:
    """The same of a child that uses a GPU.

    After each task the child is asked whether its GPU can still be used, and replaced where it
    cannot. A task that was INCONCLUSIVE in a child that others had used is tried once more in a
    new one.
    """
    was_used = child.is_alive
    found = trials_of(task, child)
    if was_used and any(one.verdict == _INCONCLUSIVE for one in found):
        child.close()
        found = trials_of(task, child)
    if any(one.detector == _LEAVES_A_CAPTURE and one.verdict != "PASS" for one in found):
        child.close()
    else:
        replace_spoiled(child, task.device)
    return found
