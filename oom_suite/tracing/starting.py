"""Stands where Python code starts a thread, feeds one, waits for one, or starts a process."""

from __future__ import annotations

import _thread
import concurrent.futures
import contextlib
import functools
import multiprocessing.process
import os
import queue
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

from oom_suite.errors import LaneError
from oom_suite.tracing.threads import STATE, UNSEEN, follow, on_thread, running
from oom_suite.tracing.turns import ASLEEP, STARTING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from oom_suite.records import Frame
    from oom_suite.tracing.threads import Around

    Stack = tuple[Frame, ...]

_COMPILERS = ("/triton/", "/torch/_inductor/", "/torch/utils/cpp_extension.py")
"""Whose processes run no tensor code."""

_LOADER = "/torch/utils/data/dataloader.py"
_NO_LOADER = (
    "the workers of a DataLoader are other processes, which cannot hand over tensors that have no "
    "memory: set num_workers=0 in the test, or take the loader out of what it calls"
)

_runner: weakref.WeakKeyDictionary[Future[Any], list[int]] = weakref.WeakKeyDictionary()
"""The thread that ran what a future stands for."""

_start = threading.Thread.start
_submit = ThreadPoolExecutor.submit
_sleep = time.sleep


def _started(self: threading.Thread) -> None:
    follow(self)
    own = vars(self).get("run")
    # Without a reference to the thread: in a circle with itself it would keep what it was given.
    vars(self)["run"] = functools.partial(_run, own, _here())
    ident = threading.get_ident()
    STARTING.add(ident)
    try:
        _start(self)
    except BaseException:
        _restore(self, own)
        raise
    finally:
        STARTING.discard(ident)
    _settle()


def _run(own: Callable[[], None] | None, given: Stack) -> None:
    thread = threading.current_thread()
    _restore(thread, own)
    on_thread(thread.run, given, is_whole=True)


def _restore(thread: threading.Thread, own: Callable[[], None] | None) -> None:
    if own is None:
        vars(thread).pop("run", None)
    else:
        vars(thread)["run"] = own


def _submitted(
    self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Future[Any]:
    for thread in tuple(vars(self).get("_threads", ())):
        follow(thread)
    runner: list[int] = []
    future = _submit(self, functools.partial(_work, runner, _here(), fn), *args, **kwargs)
    _runner[future] = runner
    _settle()
    return future


def _work(
    runner: list[int], given: Stack, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    runner.append(threading.get_ident())
    return on_thread(functools.partial(fn, *args, **kwargs), given, is_whole=False)


def _here() -> Stack:
    run = running()
    return () if run is None else run.stack()


def _settle() -> None:
    run = running()
    if run is not None:
        run.settle()


def _new_thread(function: Callable[..., Any], args: tuple[Any, ...], *rest: Any) -> int:
    followed, own = _thread.allocate_lock(), threading.get_ident()
    followed.acquire()
    STARTING.add(own)
    try:
        ident = _new(functools.partial(_raw, followed, _here(), function), args, *rest)
        followed.acquire()
    finally:
        STARTING.discard(own)
    _settle()
    return ident


_new = _thread.start_new_thread


def _raw(
    followed: _thread.LockType,
    given: Stack,
    function: Callable[..., Any],
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    try:
        # Only here the thread has an object that stands for it.
        follow(threading.current_thread())
    finally:
        followed.release()
    return on_thread(functools.partial(function, *args, **kwargs), given, is_whole=True)


def _waiting(wait: Callable[..., Any], source: Callable[[Any], int | None]) -> Callable[..., Any]:
    """The same function, that tells the run that its caller has waited for another thread."""

    @functools.wraps(wait)
    def waited(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return wait(self, *args, **kwargs)
        finally:
            run = running()
            if run is not None and not run.are_one:
                run.waited(source(self))

    return waited


def _anyone(_waited_for: Any) -> int | None:
    return None


def _ran(future: Future[Any]) -> int | None:
    return next(iter(_runner.get(future, ())), None)


def _asleep(seconds: float) -> None:
    ident = threading.get_ident()
    ASLEEP.add(ident)
    try:
        _sleep(seconds)
    finally:
        ASLEEP.discard(ident)


_starting = threading.local()


def _noted(start: Callable[..., Any], what: str) -> Callable[..., Any]:
    """The same function, that tells the run of a process."""

    @functools.wraps(start)
    def noted(*args: Any, **kwargs: Any) -> Any:
        # What multiprocessing starts it forks: that is one process.
        run = None if getattr(_starting, "is_so", False) else running()
        if run is not None and run.are_fake and _is_asked_by(_LOADER):
            raise LaneError(_NO_LOADER)
        if run is not None and not _is_asked_by(*_COMPILERS):
            run.note(f"another process is started ({what}){run.caller()}: {UNSEEN}")
        _starting.is_so = True
        try:
            return start(*args, **kwargs)
        finally:
            _starting.is_so = False

    return noted


def _is_asked_by(*files: str) -> bool:
    """Whether code of one of these files is on the stack."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if any(part in frame.f_code.co_filename for part in files):
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def watched(*around: Around) -> Iterator[None]:
    """While active, threads that are started or fed are followed.

    Args:
        around: entered on each of those threads, around all that it does.
    """
    before = STATE.around
    STATE.around = (*before, *around)
    STATE.num_watching += 1
    try:
        with contextlib.ExitStack() as patches:
            for patch in _patches() if STATE.num_watching == 1 else ():
                patches.enter_context(patch)
            yield
    finally:
        STATE.around = before
        STATE.num_watching -= 1


@contextlib.contextmanager
def one_backward_thread() -> Iterator[None]:
    """While active, autograd runs a backward pass on the thread that asks for it.

    torch ends the process where Python code runs on the thread that autograd keeps for a device
    without memory. Lines are read on the thread that asks. And autograd takes the modes along to
    its own threads, where they would be entered a second time.

    Source: PyTorch 2.13 ``torch/csrc/autograd/engine.cpp``, ``thread_main``;
    ``aten/src/ATen/ThreadLocalState.h``.
    """
    with torch.autograd.set_multithreading_enabled(False):
        yield


def _patches() -> Iterator[Any]:
    replace = mock.patch.object
    yield replace(threading.Thread, "start", _started)
    yield replace(ThreadPoolExecutor, "submit", _submitted)
    yield replace(_thread, "start_new_thread", _new_thread)
    yield replace(time, "sleep", _asleep)
    waits: list[tuple[Any, str, Callable[[Any], int | None]]] = [
        (threading.Thread, "join", lambda thread: thread.ident),
        (Future, "result", _ran),
        (Future, "exception", _ran),
        (threading.Event, "wait", _anyone),
        (threading.Condition, "wait", _anyone),
        (queue.Queue, "get", _anyone),
        (queue.Queue, "join", _anyone),
    ]
    for owner, name, source in waits:
        yield replace(owner, name, _waiting(getattr(owner, name), source))
    for owner, name, what in (
        (os, "fork", "os.fork"),
        (os, "forkpty", "os.forkpty"),
        (os, "posix_spawn", "os.posix_spawn"),
        (os, "posix_spawnp", "os.posix_spawnp"),
        (os, "system", "os.system"),
        (subprocess.Popen, "__init__", "subprocess"),
        (multiprocessing.process.BaseProcess, "start", "multiprocessing"),
        (concurrent.futures.ProcessPoolExecutor, "submit", "ProcessPoolExecutor"),
    ):
        if hasattr(owner, name):
            yield replace(owner, name, _noted(getattr(owner, name), what))
