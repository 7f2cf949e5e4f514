"""Executors of threads in a fork, which has none of the threads that they had started before."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import thread as threads
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_WORKER = getattr(threads, "_worker", None)
"""What an executor's threads run, given first how to find the executor (Python 3.10 to 3.14)."""


def executors_with_threads() -> list[ThreadPoolExecutor]:
    """Those that have threads of this process."""
    found: dict[int, ThreadPoolExecutor] = {}
    for thread in threading.enumerate():
        if _WORKER is None or getattr(thread, "_target", None) is not _WORKER:
            continue
        executor = thread._args[0]()  # type: ignore[attr-defined]  # kept while it runs
        if executor is not None:
            found[id(executor)] = executor
    return list(found.values())


def begin_again(executors: list[ThreadPoolExecutor]) -> None:
    """Have these start threads of the fork's own; what they were doing is their parent's to do."""
    for executor in executors:
        fields = vars(executor)
        fields["_threads"] = set()
        fields["_work_queue"] = queue.SimpleQueue()
        fields["_idle_semaphore"] = threading.Semaphore(0)
        fields["_shutdown_lock"] = threading.Lock()
