"""Tries every task in a few child processes, and finds the smallest growth that is caught."""

from __future__ import annotations

import functools
import importlib.util
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite import doors
from oom_suite.errors import UsageError
from oom_suite.records.selfcheck import (
    LIMIT_GROUP,
    NEEDS_TRITON,
    REQUIRED_BLOCKS_PER_BYTE,
    SelfCheck,
)
from oom_suite.selfcheck.faults.declare import each_once
from oom_suite.selfcheck.faults.limit import growth_of
from oom_suite.selfcheck.faults.record import LAW
from oom_suite.selfcheck.tasks import Half, Task, tasks
from oom_suite.selfcheck.workers import Share, trials_of, try_all, try_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oom_suite.processes.askers import Respawning
    from oom_suite.records.selfcheck import Trial
    from oom_suite.selfcheck.workers import Children, OnTrial, Work

_MAX_CHILDREN = 8
_NUM_FAR_POOLS = 2
"""Children at once that have far pools on a GPU, two of 8 GiB each."""
_LARGEST_EXPONENT = 22
"""One byte for 2**22 blocks is more than any pool that is tried has."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the self-check is run.

    Attributes:
        only: a group, or one mutant or twin by its name; None for all.
        half: which trials; None for all.
        device: where real tensors lie.
        num_children: processes at once.
        time_limit_s: seconds that one subject may take.
        weakened: see `oom_suite.selfcheck.tasks.Task`.
    """

    only: str | None = None
    half: Half | None = None
    device: str = "cpu"
    num_children: int = min(_MAX_CHILDREN, os.cpu_count() or 1)
    time_limit_s: float = 300.0
    weakened: str = ""


def selfcheck(options: Options, on_trial: OnTrial = lambda _: None) -> SelfCheck:
    """What the detectors catch of all planted faults and healthy twins that are registered.

    Args:
        options: how it is run.
        on_trial: is given each trial, on the thread that made it.

    Raises:
        UsageError: there is no such group or name, two subjects have one name, or all that is
            asked for needs Triton, which is not there.
    """
    began = time.monotonic()
    every = tasks(
        each_once(doors.faults()),
        options.device,
        only=options.only,
        half=options.half,
        weakened=options.weakened,
    )
    wanted = [task for task in every if not _needs_triton(task)]
    if every and not wanted:
        raise UsageError(f"{options.only} is about Triton's kernels, and {NEEDS_TRITON}")
    limit = None
    if options.only in {None, LIMIT_GROUP}:
        limit = _LimitSearch(on_trial, options.weakened, is_bounded=options.half is not Half.QUICK)
    # The limit is found by one question after another: begun last, it would leave all cores but
    # one idle.
    first = [] if limit is None else [limit]
    trials = _in_order(wanted, try_all(shares(wanted, first, options), on_trial))
    return SelfCheck(
        device=options.device,
        trials=trials,
        blocks_per_byte=None if limit is None else limit.blocks_per_byte,
        is_bounded=limit is not None and limit.is_bounded,
        elapsed_ms=round(1000 * (time.monotonic() - began)),
        half="" if options.half is None else options.half.value,
        num_left_out=len(every) - len(wanted),
    )


def _needs_triton(task: Task) -> bool:
    """Whether it needs Triton's interpreter, and this machine has none."""
    needs_it = task.subject.launches_kernels and task.device == "cpu"
    return needs_it and importlib.util.find_spec("triton") is None


def _in_order(wanted: Sequence[Task], trials: Sequence[Trial]) -> tuple[Trial, ...]:
    keys = [(task.subject.name, detector) for task in wanted for detector in task.detectors]
    places = {key: number for number, key in enumerate(keys)}
    return tuple(sorted(trials, key=lambda one: places[one.name, one.detector]))


def shares(wanted: Sequence[Task], first: Sequence[Work], options: Options) -> list[Share]:
    """What is tried at once, and in how many threads."""
    limit_s = options.time_limit_s
    if options.device == "cpu":
        return [Share([*first, *_work(wanted)], options.num_children, False, limit_s)]
    # Laws need no device: their children are forked and start at once. Addresses need memory: a
    # few children have it at a time.
    laws = [*first, *_work([task.only(LAW) for task in wanted])]
    far = _work([task.only("addresses") for task in wanted])
    others = _work([task.without(LAW, "addresses") for task in wanted])
    return [
        Share(others, options.num_children, True, limit_s),
        Share(far, min(_NUM_FAR_POOLS, options.num_children), True, limit_s),
        Share(laws, max(1, options.num_children // 2), False, limit_s),
    ]


def _work(wanted: Sequence[Task]) -> list[Work]:
    return [functools.partial(try_task, task) for task in wanted if task.detectors]


class _LimitSearch:
    """Finds the most blocks for which one byte of growth is caught, as work for a thread.

    Args:
        on_trial: is given each trial. They are not among the results: that the smallest growth is
            missed is no failure.
        weakened: as of `Task`.
        is_bounded: whether smaller growths than the one that must be caught are tried.

    Attributes:
        blocks_per_byte: the most; 0 where not even one byte per block is caught.
        is_bounded: whether a smaller growth was tried and missed.
    """

    def __init__(self, on_trial: OnTrial, weakened: str, *, is_bounded: bool) -> None:
        self._on_trial = on_trial
        self._weakened = weakened
        self.is_bounded = is_bounded
        self.blocks_per_byte = 0

    def __call__(self, children: Children) -> tuple[Trial, ...]:
        """Halve the exponent: what catches one byte for so many blocks catches it for fewer."""
        child = children.shared
        required = REQUIRED_BLOCKS_PER_BYTE.bit_length() - 1
        if not self._is_caught(required, child):
            fewer = (n for n in range(required - 1, -1, -1) if self._is_caught(n, child))
            least = next(fewer, None)
            self.blocks_per_byte, self.is_bounded = (0 if least is None else 1 << least), True
            return ()
        caught, missed = required, _LARGEST_EXPONENT
        while self.is_bounded and missed - caught > 1:
            middle = (caught + missed) // 2
            is_caught = self._is_caught(middle, child)
            caught, missed = (middle, missed) if is_caught else (caught, middle)
        self.blocks_per_byte = 1 << caught
        return ()

    def _is_caught(self, exponent: int, child: Respawning) -> bool:
        task = Task(growth_of(1 << exponent), (LAW,), "cpu", self._weakened)
        (trial,) = trials_of(task, child)
        self._on_trial(trial)
        return trial.is_right
