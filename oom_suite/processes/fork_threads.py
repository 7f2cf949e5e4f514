"""What a fork lacks of the threads that ran before it: executors begin theirs again, others do not.

A step that hands work to such a thread and waits for it would wait in a fork for ever.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_OUR_OWN = (
    "oom_suite.processes",
    "oom_suite.pipeline",
    "oom_suite.targets",
    "oom_suite.pytest_plugin",
)


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """Threads of a process that its fork has not.

    Attributes:
        executors: those that have threads.
        others: what the other threads run, with file and line; the suite's own are not among them.
    """

    executors: tuple[ThreadPoolExecutor, ...]
    others: tuple[str, ...]

    @classmethod
    def by_a_fork(cls) -> LeftBehind:
        """Those that a fork of this process would lack now."""
        executors: dict[int, ThreadPoolExecutor] = {}
        others: list[str] = []
        for thread in threading.enumerate():
            target = getattr(thread, "_target", None)
            module = str(getattr(target, "__module__", ""))
            if thread in (threading.current_thread(), threading.main_thread()):
                continue
            if module == ThreadPoolExecutor.__module__:
                # Its threads are given first how to find it (Python 3.10 to 3.14), until they end.
                for find in vars(thread).get("_args", ())[:1]:
                    executors[id(find())] = find()
            elif not module.startswith(_OUR_OWN):
                others.append(_name(thread, target))
        return cls(tuple(one for one in executors.values() if one is not None), tuple(others))

    def begin_again(self) -> None:
        """In the fork: have executors start threads; what they were at is their parent's to do."""
        for executor in self.executors:
            fields = vars(executor)
            fields["_threads"] = set()
            fields["_work_queue"] = queue.SimpleQueue()
            fields["_idle_semaphore"] = threading.Semaphore(0)
            fields["_shutdown_lock"] = threading.Lock()


def _name(thread: threading.Thread, target: Any) -> str:
    code = getattr(target, "__code__", None) or type(thread).run.__code__
    name = getattr(target, "__qualname__", type(thread).__qualname__)
    return f"{name} ({Path(code.co_filename).name}:{code.co_firstlineno})"


class Stillness:
    """How long a process and those that it started have used no processor.

    Args:
        pid: the process.
    """

    def __init__(self, pid: int) -> None:
        self._process, self._used, self._since = psutil.Process(pid), -1.0, 0.0

    def seconds(self, now: float) -> float:
        """Since when, by a clock that says `now`."""
        used = 0.0
        with contextlib.suppress(psutil.Error):
            for process in (self._process, *self._process.children(recursive=True)):
                times = process.cpu_times()
                used += times.user + times.system
        if used != self._used:
            self._used, self._since = used, now
        return now - self._since
