"""How a run ends before its time: every process it started ends with it, and at once.

Whoever starts a process holds one end of a pipe; the other end has the kernel kill that process,
and the group it leads, when nobody holds the first any more. Neither SIGKILL of the holder nor a
process that hangs in compiled code is in its way, and no thread has to watch.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Pipe
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from types import FrameType

_NUDGE = signal.SIGURG
_NUDGE_S = 0.05
"""What wakes the main thread, and how long that may take to hear a signal by itself."""
_ENDS_A_RUN = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DESCRIPTOR = "OOM_SUITE_LIFE"
_PARENT = "OOM_SUITE_PARENT"
_offered: list[Any] = []
_ended_by: list[int] = []
_ways_to_end: dict[object, Callable[[], None]] = {}


class Interrupted(BaseException):
    """The run is being ended: raised where a signal came, and to whoever waits for a process.

    Attributes:
        exit_code: what a shell reports of a process that such a signal has ended.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}; no process is left")
        self.exit_code = 128 + number


class Life:
    """What a process lives by: it is killed when this is ended, or whoever holds it is gone.

    Attributes:
        handed: the end to give to the process, which gives it to `live_by`.
    """

    def __init__(self) -> None:
        self.handed, held = Pipe(duplex=False)
        self._open = [held, self.handed]

    def environment(self) -> dict[str, str]:
        """What a process that is given the descriptor finds it by, with `live_by_environment`."""
        return {_DESCRIPTOR: str(self.handed.fileno())}

    def handed_over(self) -> None:
        """Nothing; the process has its end, and this one keeps the other alone."""
        _close_last(self._open)

    def inherited(self) -> None:
        """Live by it, in a fork of the process that holds it; the group is the holder's."""
        held, _ = self._open
        held.close()
        live_by(self.handed.fileno(), with_group=False)

    def end(self) -> None:
        """Kill the process with its group; from any thread, also in a signal handler."""
        _close_last(self._open)
        _close_last(self._open)


def _close_last(ends: list[Connection]) -> None:
    # Taken out first, in one step: closed twice, the number may be another file's by then.
    with contextlib.suppress(IndexError):
        ends.pop().close()


def live_by(descriptor: int, *, with_group: bool) -> None:
    """Be killed when nobody holds the other end of a `Life` any more.

    Args:
        descriptor: its end here, which stays open.
        with_group: whether the whole process group is killed, which this process has to lead.

    Source: Linux ``fs/pipe.c``, ``pipe_release``: the last writer's end is signalled to readers;
    ``fs/fcntl.c``, ``F_SETSIG`` and ``F_SETOWN``, which takes a group as a negative number.
    """
    owner = -os.getpgrp() if with_group else os.getpid()
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, owner)
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
    # The holder may have gone before: nothing is ever written, so that readable is its end.
    if select.select([descriptor], [], [], 0)[0]:
        os.kill(owner, signal.SIGKILL)


@contextlib.contextmanager
def offered_life() -> Iterator[None]:
    """Let the server that children are forked from find by what it lives: `live_with_parent`.

    It is started by Python, which hands over no descriptor but its own. Those are no help: a
    request that waits in the server's queue keeps them open.
    """
    if not _offered or _offered[0] != os.getpid():
        _offered[:] = [os.getpid(), Life()]
    life = _offered[1]
    os.environ[_PARENT] = f"/proc/{os.getpid()}/fd/{life.handed.fileno()}"
    try:
        yield
    finally:
        os.environ.pop(_PARENT, None)


def live_with_parent() -> None:
    """Be killed with the process that offered it; nothing where none did."""
    path = os.environ.pop(_PARENT, "")
    if not path:
        return
    try:
        # Stays open as long as this process: a descriptor is not closed by itself.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        # It has gone while this process was being started.
        os._exit(0)
    live_by(descriptor, with_group=False)


def live_by_environment() -> None:
    """Be killed with whoever started this process, where it said by what: `Life.environment`."""
    text = os.environ.pop(_DESCRIPTOR, "")
    if text:
        live_by(int(text), with_group=False)


def register(key: object, end: Callable[[], None]) -> None:
    """Have `end` called when the run is ended, until `forget`.

    Raises:
        Interrupted: it is being ended already; `end` was called.
    """
    _ways_to_end[key] = end
    try:
        raise_if_ended()
    except Interrupted:
        end()
        raise


def forget(key: object) -> None:
    """Nothing; what was registered under this key ends by itself."""
    _ways_to_end.pop(key, None)


def end_all(number: int) -> None:
    """End every process that was registered; from now on none can be started."""
    _ended_by.append(number)
    for end in list(_ways_to_end.values()):
        # It may be half started, or half closed, in the thread that a signal has interrupted.
        with contextlib.suppress(Exception):
            end()


def raise_if_ended() -> None:
    """Nothing, while the run goes on.

    Raises:
        Interrupted: it is being ended.
    """
    if _ended_by:
        raise Interrupted(_ended_by[0])


def begin_again() -> None:
    """Let processes be started: the run that was ended is over, and this is another."""
    _ended_by.clear()


@contextlib.contextmanager
def heard_signals() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP end every process of the run, and are raised as `Interrupted`.

    A second one ends this process at once. What this process was told to ignore stays ignored.
    """

    def hear(number: int, frame: FrameType | None) -> None:
        del frame
        is_first = not _ended_by
        end_all(number)
        if not is_first:
            os._exit(128 + number)
        raise Interrupted(number)

    begin_again()
    heard = [n for n in _ENDS_A_RUN if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, hear) for number in heard}
    before[_NUDGE] = signal.signal(_NUDGE, lambda *_: None)
    try:
        with _main_thread_woken():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _main_thread_woken() -> Iterator[None]:
    """Meanwhile, a signal is heard though it came just before the main thread began to wait.

    Python runs handlers when a wait is interrupted, or between two steps of the main thread. What
    comes between the last step and the wait would be heard when the wait ends by itself.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    kept = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    waiting = threading.main_thread().ident or 0

    def wake() -> None:
        while number := os.read(reading, 1):
            while number[0] in _ENDS_A_RUN and not _ended_by and not is_over.wait(_NUDGE_S):
                signal.pthread_kill(waiting, _NUDGE)

    is_over = threading.Event()
    waker = threading.Thread(target=wake, daemon=True)
    waker.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(kept)
        is_over.set()
        os.close(writing)
        waker.join()
        os.close(reading)


@contextlib.contextmanager
def threads(num_threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads, all of which are waited for, but by nobody who is interrupted.

    Args:
        num_threads: at once; one at least.
    """
    pool = ThreadPoolExecutor(max_workers=max(1, num_threads))
    try:
        yield pool
    except (Interrupted, KeyboardInterrupt):
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def leave(code: int, grace_s: float) -> NoReturn:
    """End this process with this code, though its threads may be busy.

    Args:
        code: the exit code.
        grace_s: seconds that threads have, to remove what they keep in temporary files.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    own = threading.current_thread()
    share_s = grace_s / max(1, threading.active_count() - 1)
    for thread in threading.enumerate():
        if thread is not own and not thread.daemon:
            # One that was being started when the signal came cannot be waited for.
            with contextlib.suppress(RuntimeError):
                thread.join(share_s)
    os._exit(code)
