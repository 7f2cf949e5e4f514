"""One rank's run: it measures, tells the group, and ends with the group's exit code."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError
from oom_suite.pipeline.check import check, check_all
from oom_suite.pipeline.ranks.exchange import Answer, Exchange, wait_until
from oom_suite.subjects import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.pipeline.ranks.group import Group
    from oom_suite.pipeline.settings import Settings
    from oom_suite.records import Result

    OnResult = Callable[[Result], None]

EXIT_INCONCLUSIVE = 3
STOP_LIMIT_S = 20.0
"""Seconds that a rank goes on after torchrun asks it to end. torchrun kills after 30.

Source: torch 2.13 `distributed/elastic/multiprocessing/api.py`, `PContext.close`.
"""
_ACK_S = 2.0
_CODE = "exit code"


class RankRun:
    """A rank from its first measurement to the group's exit code.

    When a rank's process ends, torchrun asks the others to end at once. They go on for a while:
    what they have measured is in the table, and the rank that ended is named there.

    Args:
        group: which rank this is.
        time_limit_s: seconds that rank 0 waits for the others after its own answer; the others
            wait twice as long for the group's exit code.
    """

    def __init__(self, group: Group, time_limit_s: float) -> None:
        """Connect with the group; from now on the request to end is heard."""
        self._group = group
        self._time_limit_s = time_limit_s
        self._stop_at = float("inf")
        self._is_asked_to_stop = False
        self._has_told = False
        # Before the store, whose part of torch takes a second or two to load.
        signal.signal(signal.SIGTERM, self._asked_to_stop)
        self._exchange = Exchange(group)

    def measure(
        self, subjects: Sequence[str], settings: Settings, device: str, on_result: OnResult
    ) -> None:
        """Nothing; afterwards the group knows what this rank found, or why it found nothing."""
        measuring = _Measuring(subjects, settings, on_result)
        measuring.start()
        # The group may be judged without this rank, where it takes much longer than the others.
        self._wait(
            lambda: not measuring.is_alive() or self._exchange.has(_CODE), self._stop_deadline
        )
        problem = measuring.problem
        if measuring.is_alive():
            problem = f"was asked to end, and had no result {STOP_LIMIT_S:g} s later"
            end_children()
        self._exchange.put(_answer(self._group.rank), Answer(device, measuring.results, problem))

    def gather(self) -> Mapping[int, Answer]:
        """The answer of every rank, by its number: rank 0's part."""
        ranks = range(self._group.world_size)
        give_up_at = time.monotonic() + self._time_limit_s

        def is_settled() -> bool:
            return all(self._exchange.has(_answer(rank)) or self._is_gone(rank) for rank in ranks)

        self._wait(is_settled, lambda: min(give_up_at, self._stop_deadline()))
        return {rank: self._answer_of(rank) for rank in ranks}

    def share(self, code: int) -> None:
        """Nothing; afterwards the other ranks end with this code: rank 0's part."""
        self._exchange.put(_CODE, code)

    def shared(self) -> tuple[int, str]:
        """The group's exit code, which rank 0 shares, and nothing; or 3, and why there is none."""
        give_up_at = time.monotonic() + 2 * self._time_limit_s
        # Rank 0 has its own time to end in, and needs some more to say how.
        self._wait(
            lambda: self._exchange.has(_CODE) or self._is_gone(0),
            lambda: min(give_up_at, self._stop_at + _ACK_S),
        )
        if self._exchange.has(_CODE):
            return int(self._exchange.get(_CODE)), ""
        if self._is_gone(0):
            return EXIT_INCONCLUSIVE, "rank 0 ended without a verdict: killed, or crashed"
        limit = f"within {2 * self._time_limit_s:g} s of rank {self._group.rank}'s answer"
        return EXIT_INCONCLUSIVE, f"rank 0 gave no verdict {limit}: it hangs"

    def _stop_deadline(self) -> float:
        return self._stop_at

    def _asked_to_stop(self, number: int, frame: object) -> None:
        if not self._is_asked_to_stop:
            self._is_asked_to_stop = True
            self._stop_at = time.monotonic() + STOP_LIMIT_S

    def _wait(self, is_done: Callable[[], bool], deadline: Callable[[], float]) -> bool:
        def done() -> bool:
            if self._is_asked_to_stop and not self._has_told:
                # Not in the handler: the store may be in use where the signal came.
                self._has_told = True
                self._exchange.put(_alive(self._group.rank), value=True)
            return is_done()

        return wait_until(done, deadline)

    def _is_gone(self, rank: int) -> bool:
        """Whether torchrun asked all to end, and this rank alone does not say that it heard."""
        since_s = STOP_LIMIT_S - (self._stop_at - time.monotonic())
        return since_s > _ACK_S and not self._exchange.has(_alive(rank))

    def _answer_of(self, rank: int) -> Answer:
        if self._exchange.has(_answer(rank)):
            answer: Answer = self._exchange.get(_answer(rank))
            return answer
        if self._is_gone(rank):
            return Answer("", (), "its process ended without an answer: killed, or crashed")
        return Answer("", (), f"no answer within {self._time_limit_s:g} s of rank 0's: it hangs")


class _Measuring(threading.Thread):
    """Measures beside the thread that hears signals and talks to the group."""

    def __init__(self, subjects: Sequence[str], settings: Settings, on_result: OnResult) -> None:
        super().__init__(daemon=True)
        self._subjects = subjects
        self._settings = settings
        self._on_result = on_result
        self.results: tuple[Result, ...] = ()
        self.problem = ""

    def run(self) -> None:
        """Measure all subjects."""
        # torchrun asks the whole process group to end, the server that forks the children too.
        # They have this thread's mask, and are ended by SIGKILL; the main thread hears it. The
        # tracker comes first: starting it unblocks the signal again.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            self.results = tuple(self._measured())
        except OomSuiteError as error:
            self.problem = str(error)
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}".partition("\n")[0]

    def _measured(self) -> list[Result]:
        if self._settings.device == "cpu":
            found = check_all(self._subjects, self._settings, on_result=self._on_result)
            return [study.result for study in found]
        results = []
        # One after the other: two subjects on one GPU would be in each other's figures.
        for subject in self._subjects:
            results.append(check(parse(subject), self._settings).result)
            self._on_result(results[-1])
        return results


def end_children() -> None:
    """Nothing; afterwards no process runs that this one started to measure."""
    for child in multiprocessing.active_children():
        # A child leads a process group of its own, with all that it started.
        if child.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
        child.kill()


def _answer(rank: int) -> str:
    return f"{rank}/answer"


def _alive(rank: int) -> str:
    return f"{rank}/alive"
