"""Steps that work on other threads: some take memory there that grows with the pool."""

from __future__ import annotations

import asyncio
import functools
import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.selfcheck.faults.declare import mutant, twin
from oom_suite.selfcheck.faults.gather import decode_holding
from oom_suite.selfcheck.faults.record import LAW, Promised
from oom_suite.workloads.sparse_mla.builtins import token_gather_decode

if TYPE_CHECKING:
    from collections.abc import Callable

_grows = functools.partial(mutant, LAW, along=())
_BATCH = ("num_tokens",)


class _Earlier:
    """Threads that are there before a step; a fork has none of them, and begins its own."""

    def __init__(self) -> None:
        """Begin now, and again in every fork."""
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """With an executor, and a queue that nobody reads yet."""
        self.executor = ThreadPoolExecutor(1)
        self._tasks: queue.Queue[Callable[[], object]] = queue.Queue()
        self._done: queue.Queue[object] = queue.Queue()
        self._is_read = False

    def done(self, task: Callable[[], object]) -> Any:
        """What the task gives on the one thread that reads the queue until the process ends."""
        if not self._is_read:
            self._is_read = True
            threading.Thread(target=self._serve, daemon=True).start()
        self._tasks.put(task)
        return self._done.get()

    def _serve(self) -> None:
        while True:
            task = self._tasks.get()
            self._done.put(task())
            del task


_EARLIER = _Earlier()


def _on_a_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def _byte_per_block(step: dict[str, Any]) -> torch.Tensor:
    pool = step["swa_k_cache"]
    return torch.zeros(pool.shape[0], dtype=torch.uint8, device=pool.device)


@_grows("_byte_per_block")
def on_a_started_thread(**step: Any) -> None:
    """A byte for each block, taken on a thread that the step starts."""
    kept: list[torch.Tensor] = []
    _on_a_thread(lambda: kept.append(_byte_per_block(step)))
    decode_holding(step, kept)


@_grows()
def in_an_executor_made_earlier(**step: Any) -> None:
    """The bytes of the pool as float16, made by an executor that was there before."""
    decode_holding(step, _EARLIER.executor.submit(step["swa_k_cache"].to, torch.float16).result())


@_grows("_byte_per_block")
def by_asyncio(**step: Any) -> None:
    """A byte for each block, taken where asyncio.to_thread runs it."""
    decode_holding(step, asyncio.run(asyncio.to_thread(_byte_per_block, step)))


@_grows("_byte_per_block", is_stateful=True)
def through_a_queue(**step: Any) -> None:
    """A byte for each block, taken by a thread that reads a queue for ever."""
    decode_holding(step, _EARLIER.done(lambda: _byte_per_block(step)))


@_grows("_byte_per_block", along=_BATCH)
def freed_on_its_thread(**step: Any) -> None:
    """A byte for each block, taken and freed on a thread while the step goes on."""
    thread = threading.Thread(target=_byte_per_block, args=(step,))
    thread.start()
    token_gather_decode(**step)
    thread.join()


# A graph's capture belongs to one thread: what another one launches is not in it.
_healthy = functools.partial(twin, LAW, along=_BATCH, breaks=("capture",))
_gathers = functools.partial(
    twin,
    LAW,
    promised=Promised(
        {"pool": 4096, "rows": 8},
        independent_of=("pool",),
        # Indices, rows as they are, and rows widened.
        at_most="8*rows + 128*rows + 256*rows",
    ),
    breaks=("capture",),
)


@_healthy()
def decoded_on_a_thread(**step: Any) -> None:
    """Decodes on a thread that the step starts."""
    _on_a_thread(torch.no_grad()(lambda: token_gather_decode(**step)))


@_healthy()
def decoded_in_an_executor(**step: Any) -> None:
    """Decodes in an executor that the step makes."""
    with ThreadPoolExecutor(2) as executor:
        executor.submit(torch.no_grad()(token_gather_decode), **step).result()


@_healthy()
def decoded_by_asyncio(**step: Any) -> None:
    """Decodes where asyncio.to_thread runs it."""
    asyncio.run(asyncio.to_thread(torch.no_grad()(token_gather_decode), **step))


def _gather(sizes: Any, device: torch.device) -> Callable[[], torch.Tensor]:
    cache = torch.empty(sizes.pool, 64, dtype=torch.bfloat16, device=device)
    rows = torch.zeros(sizes.rows, dtype=torch.int64, device=device)

    def gather() -> torch.Tensor:
        return cache[rows.clone()].float()

    return gather


@_gathers()
def gathered_in_an_executor_made_earlier(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A gather in an executor that was there before."""
    gather = _gather(sizes, device)
    return lambda: _EARLIER.executor.submit(gather).result()


@_gathers()
def gathered_through_a_queue(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A gather on a thread that reads a queue for ever."""
    gather = _gather(sizes, device)
    return lambda: _EARLIER.done(gather)
