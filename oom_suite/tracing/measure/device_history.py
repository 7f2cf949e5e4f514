"""What a device's allocator recorded of a call, as the allocations and events of a trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.errors import LaneError
from oom_suite.records import Allocation, Event
from oom_suite.records.trace import ALLOCATOR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.records import Frame

    Entry = Mapping[str, Any]
    StackOf = Callable[[Sequence[Mapping[str, Any]]], tuple[Frame, ...]]

MAX_ENTRIES = 1_000_000
"""Entries that are recorded at the most; more are refused, for the oldest would be lost."""


@dataclass(frozen=True, slots=True)
class History:
    """One call in the allocator's own words.

    Attributes:
        allocations: every request, in order; its size is the one asked for.
        events: their allocations and frees, in order.
    """

    allocations: tuple[Allocation, ...]
    events: tuple[Event, ...]


def read_history(
    entries: Sequence[Entry], stack_of: StackOf, num_in_call: int, workspace: str
) -> History:
    """The history of one call.

    A request is freed when the allocator can give its memory away again (``free_completed``):
    memory that another stream still uses counts until then. Frees of what was there before the
    call are left out. What the call made and only clearing the libraries' workspaces freed is
    a workspace, and carries its name for an operator.

    Args:
        entries: one device's entries of ``_snapshot()["device_traces"]``, in order.
        stack_of: the lines of the code under test among an entry's frames.
        num_in_call: how many of them the call made; the rest is clearing the workspaces.
        workspace: the operator of a workspace, for example ``cuBLAS workspace``.

    Raises:
        LaneError: there are so many that the first may be lost.

    Source: PyTorch 2.11 and 2.13 ``c10/cuda/CUDACachingAllocator.cpp``, ``alloc_found_block``,
    ``free``, ``free_block`` (the size of an entry is the request's, not the block's) and
    ``RingBuffer``; ``torch/csrc/cuda/memory_snapshot.cpp``. Allocations in a pool of their own
    are recorded as all others are.
    """
    if len(entries) >= MAX_ENTRIES:
        msg = (
            f"the call makes {MAX_ENTRIES:,} allocator events or more, and its history is lost "
            "in part: measure a smaller call"
        )
        raise LaneError(msg)
    requests: list[tuple[int, str, tuple[Frame, ...]]] = []
    events: list[Event] = []
    live: dict[int, int] = {}
    for entry in entries[:num_in_call]:
        action = entry["action"]
        if action == "alloc":
            live[entry["addr"]] = len(requests)
            events.append(Event("alloc", len(requests)))
            requests.append((entry["size"], ALLOCATOR, stack_of(entry.get("frames", ()))))
        elif action == "free_completed":
            number = live.pop(entry["addr"], None)
            if number is not None:
                events.append(Event("free", number))
    for number in _freed_later(entries[num_in_call:], live):
        size, _, stack = requests[number]
        requests[number] = size, workspace, stack
    return History(tuple(Allocation(*each) for each in requests), tuple(events))


def _freed_later(entries: Sequence[Entry], live: Mapping[int, int]) -> list[int]:
    freed = [entry["addr"] for entry in entries if entry["action"] == "free_requested"]
    return [live[addr] for addr in freed if addr in live]
