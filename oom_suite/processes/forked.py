"""Work done in a fork of this process, so that a crash of it is an answer."""

from __future__ import annotations

import faulthandler
import gc
import os
import pickle
import select
import signal
import time
import warnings
from typing import TYPE_CHECKING, TypeVar

import torch

from oom_suite.errors import LaneError, OomSuiteError, line_of
from oom_suite.processes.ending import Life
from oom_suite.processes.fork_threads import LeftBehind, Stillness

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")
_CHUNK_BYTES = 1 << 16
_LOOK_S, _STILL_S = 1.0, 10.0
"""How often a fork that lacks threads is looked at, and how long it may do nothing."""


def in_fork(work: Callable[[], Answer], time_limit_s: float) -> Answer:
    """What `work` returns, run in a fork.

    A wild access may end it. The fork must not touch a GPU; nothing of what it changes is seen
    here, limits of the process included. Executors of threads start theirs again in it; other
    threads are not there, and who waits for one is told so.

    Raises:
        LaneError: it raised, ended by itself, was killed or took too long.
    """
    reading, writing = os.pipe()
    life, left_behind = Life(), LeftBehind.by_a_fork()
    with warnings.catch_warnings():
        # Python 3.12 warns where threads run; the fork calls into none of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(reading)
        life.inherited()
        left_behind.begin_again()
        _answer(work, writing)
    os.close(writing)
    life.handed_over()
    try:
        text = _read(reading, time_limit_s, pid, left_behind.others)
    finally:
        os.close(reading)
        # It has answered, or nobody waits for its answer any more.
        life.end()
        _, status = os.waitpid(pid, 0)
    if not text:
        code = os.waitstatus_to_exitcode(status)
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        raise LaneError(f"the process that ran the step was {how}")
    is_answer, value = pickle.loads(text)
    if not is_answer:
        raise LaneError(value)
    return value  # type: ignore[no-any-return]  # what `work` returned


def _answer(work: Callable[[], object], writing: int) -> None:
    """Run the work and end the process, whatever happens."""
    # A crash is an answer; nobody is to read a dump of the harness's own stack.
    faulthandler.disable()
    # What was there before is no garbage of the work: a collection would walk and copy all of it.
    gc.freeze()
    try:
        # A fork has none of the threads that a parallel loop would wait for.
        torch.set_num_threads(1)
        text = pickle.dumps((True, work()))
    except BaseException as error:
        shown = str(error) if isinstance(error, OomSuiteError) else line_of(error)
        text = pickle.dumps((False, shown))
    try:
        with os.fdopen(writing, "wb") as sink:
            sink.write(text)
    finally:
        os._exit(0)


def _read(reading: int, time_limit_s: float, pid: int, missing: tuple[str, ...]) -> bytes:
    parts: list[bytes] = []
    still = Stillness(pid) if missing else None
    until = time.monotonic() + time_limit_s
    while True:
        now = time.monotonic()
        wait_s = max(0.0, until - now)
        ready, _, _ = select.select([reading], [], [], min(wait_s, _LOOK_S) if still else wait_s)
        if ready:
            part = os.read(reading, _CHUNK_BYTES)
            if not part:
                return b"".join(parts)
            parts.append(part)
        elif still is None or wait_s <= _LOOK_S:
            raise LaneError(f"the step took more than {time_limit_s:g} s")
        elif still.seconds(now) >= _STILL_S:
            raise LaneError(
                f"it did nothing for {_STILL_S:g} s in a fork, which lacks the threads that ran "
                f"before: {', '.join(missing)} (those of a ThreadPoolExecutor begin again there)"
            )
