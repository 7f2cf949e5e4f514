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

from oom_suite.tracing.threads import follow, on_thread, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_COMPILERS = ("/triton/", "/torch/_inductor/", "/torch/utils/cpp_extension.py")
"""Whose processes run no tensor code."""

_runner: weakref.WeakKeyDictionary[Future[Any], list[int]] = weakref.WeakKeyDictionary()
"""The thread that ran what a future stands for."""

_start = threading.Thread.start
_submit = ThreadPoolExecutor.submit
_sleep = time.sleep


def _started(self: threading.Thread) -> None:
    follow(self)
    own = vars(self).get("run")
    # Without a reference to the thread: in a circle with itself it would keep what it was given.
    vars(self)["run"] = functools.partial(_run, own)
    try:
        _start(self)
    except BaseException:
        _restore(self, own)
        raise
    _settle()


def _run(own: Callable[[], None] | None) -> None:
    thread = threading.current_thread()
    _restore(thread, own)
    on_thread(thread.run, is_whole=True)


def _restore(thread: threading.Thread, own: Callable[[], None] | None) -> None:
    if own is None:
        vars(thread).pop("run", None)
    else:
        vars(thread)["run"] = own


def _submitted(
    self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Future[Any]:
    for thread in tuple(getattr(self, "_threads", ())):
        follow(thread)
    runner: list[int] = []
    future = _submit(self, functools.partial(_work, runner, fn), *args, **kwargs)
    _runner[future] = runner
    _settle()
    return future


def _work(runner: list[int], fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    runner.append(threading.get_ident())
    return on_thread(functools.partial(fn, *args, **kwargs), is_whole=False)


def _settle() -> None:
    run = running()
    if run is not None:
        run.settle()


def _new_thread(function: Callable[..., Any], args: tuple[Any, ...], *rest: Any) -> int:
    ident = _new(functools.partial(_raw, function), args, *rest)
    _settle()
    return ident


_new = _thread.start_new_thread


def _raw(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    # Only here the thread has an object that stands for it.
    follow(threading.current_thread())
    return on_thread(functools.partial(function, *args, **kwargs), is_whole=True)


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
    run = running()
    if run is None or run.are_one:
        _sleep(seconds)
        return
    run.sleeps(is_asleep=True)
    try:
        _sleep(seconds)
    finally:
        run.sleeps(is_asleep=False)


def _noted(start: Callable[..., Any], what: str) -> Callable[..., Any]:
    """The same function, that tells the run of a process."""

    @functools.wraps(start)
    def noted(*args: Any, **kwargs: Any) -> Any:
        run = running()
        if run is not None and not _is_compiler():
            run.note(f"another process is started ({what}){run.caller()}")
        return start(*args, **kwargs)

    return noted


def _is_compiler() -> bool:
    frame = sys._getframe(1)
    while frame is not None:
        if any(part in frame.f_code.co_filename for part in _COMPILERS):
            return True
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    return False


_depth = 0


@contextlib.contextmanager
def starts_followed() -> Iterator[None]:
    """While active, whoever starts a thread or a process comes by here."""
    global _depth
    _depth += 1
    try:
        with contextlib.ExitStack() as patches:
            if _depth == 1:
                for patch in _patches():
                    patches.enter_context(patch)
            yield
    finally:
        _depth -= 1


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
