"""How long a call takes on a device, and what it requests.

A device is whatever has the few methods of `Device`: a GPU, or one that a test simulates.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Call = Callable[[], object]

REPLAYS = 7
"""Of which the median counts."""
LEAST_INPUTS, MOST_INPUTS = 4, 512
LEAST_CALLS = 32
"""Calls of a graph: to begin one takes some 10 us, of which each call's time has a share."""
_COPY_BYTES = 2 << 30
_SLOW_US = 200_000.0
"""All inputs once in more than that are timed three times, not seven."""
_FEWER_REPLAYS = 3
WARM_UP_US = 50_000.0
"""What runs before anything counts: a GPU that had nothing to do is slower for some milliseconds.

Seen on an H200: a gather of 110 us took 126 at first, beside a copy that had run for longer.
"""
_LEAST_US = 50.0


class RefusedError(Exception):
    """The calls cannot be captured in a graph."""


class Device(Protocol):
    """What a clock needs of a device."""

    def capture(self, calls: Sequence[Call]) -> Call:
        """A call that replays all of these at once.

        Raises:
            RefusedError: they cannot be captured. The process must not use the device again.
        """
        ...

    def elapsed_us(self, call: Call) -> float:
        """Microseconds of the device from before this call until all its work is done."""
        ...

    def peak_bytes(self, call: Call) -> int:
        """What the call requests at its peak beyond what is there."""
        ...


class Gpu:
    """The current GPU of torch, CUDA or HIP."""

    def capture(self, calls: Sequence[Call]) -> Call:
        """A graph of the calls, in their order, once they have run."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                for call in calls:
                    call()
        except RuntimeError as error:
            raise RefusedError(_first_line(error)) from error
        return graph.replay

    def elapsed_us(self, call: Call) -> float:
        """By two events on the current stream."""
        event = functools.partial(torch.cuda.Event, enable_timing=True)
        first, last = event(), event()
        first.record()
        call()
        last.record()
        torch.cuda.synchronize()
        return float(first.elapsed_time(last) * 1000)

    def peak_bytes(self, call: Call) -> int:
        """By the caching allocator's own counters."""
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_stats().get("requested_bytes.all.current", 0)
        call()
        torch.cuda.synchronize()
        return int(torch.cuda.memory_stats().get("requested_bytes.all.peak", 0) - before)


def time_us(
    calls: Sequence[Call], device: Device | None = None, *, uses_graph: bool = True
) -> float:
    """The median microseconds of one of the calls, which run one after the other.

    Args:
        calls: each is run before, so that nothing is compiled in what is timed.
        device: a GPU where not given.
        uses_graph: whether they are captured in one graph, so that the time is the device's
            alone; otherwise launches on the host count where they take longer.

    Raises:
        RefusedError: they are to be captured, and cannot be.
    """
    timed = device or Gpu()

    def every() -> None:
        for call in calls:
            call()

    timed.elapsed_us(every)
    if uses_graph:
        calls = [*calls] * math.ceil(LEAST_CALLS / len(calls))
    once = timed.capture(calls) if uses_graph else every
    first_us = timed.elapsed_us(once)
    for _ in range(int(WARM_UP_US / max(first_us, _LEAST_US))):
        timed.elapsed_us(once)
    replays = _FEWER_REPLAYS if first_us > _SLOW_US else REPLAYS
    times = sorted(timed.elapsed_us(once) for _ in range(replays))
    return times[replays // 2] / len(calls)


def scratch_bytes(call: Call, device: Device | None = None) -> int:
    """What a call requests at its peak beyond what is there, in bytes."""
    return (device or Gpu()).peak_bytes(call)


def copy_gb_per_s(device: Device | None = None) -> float:
    """Bytes that a copy of 2 GiB on the current GPU reads and writes, a nanosecond."""
    source = torch.empty(_COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    took = time_us([lambda: target.copy_(source)], device, uses_graph=False)
    return 2 * _COPY_BYTES / took / 1e3


def num_inputs(moved_bytes: int, l2_bytes: int) -> int:
    """How many inputs to rotate over: what they touch is twice the last cache, up to 512 of them.

    Args:
        moved_bytes: what a call reads and writes of its own.
        l2_bytes: the cache.
    """
    wanted = math.ceil(2 * l2_bytes / max(1, moved_bytes))
    return min(MOST_INPUTS, max(LEAST_INPUTS, wanted))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
