"""What calls leave alive: how much after each, what holds it, whether it keeps growing.

Both look at it here: the verdict on a law, after further calls at the same sizes, and the creep
detector, after many steps of a server.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from oom_suite.records.frame import Frame
    from oom_suite.records.trace import Allocation, Event, Trace

DEVICE, HOST, PINNED = "device", "host", "pinned"
MEMORIES = {DEVICE: "", HOST: "host memory", PINNED: "pinned host memory"}
"""The memories that are looked at, by the names that sentences give them; the device's has none."""

MIN_CALLS = 8
MAX_CALLS = 256
_LAST = 8
"""The last part of all calls, one in so many, in which what still grows is taken for a leak."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What one line made and calls left alive.

    Attributes:
        memory: a name in `MEMORIES`.
        holder: what holds it, as code says it (``_CACHE``, ``Decoder.rows``); empty where nothing
            was found that does.
        frame: the line that made it; None where no line under test did.
        num_bytes: all of it, after the last call.
        num_recent_bytes: what the later half of the calls made of it.
    """

    memory: str
    holder: str
    frame: Frame | None
    num_bytes: int
    num_recent_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "memory": self.memory,
            "holder": self.holder,
            "where": "" if self.frame is None else str(self.frame),
            "num_bytes": self.num_bytes,
        }


@dataclass(frozen=True, slots=True)
class RepeatedCalls:
    """Several calls at the same sizes, one after the other.

    Attributes:
        live_bytes: what was alive after each of them, by the names in `MEMORIES`.
        kept: what was alive after the last, the largest first.
        num_outliving_bytes: what was alive when the call and its inputs were gone: state that a
            call with inputs of its own would meet.
    """

    live_bytes: Mapping[str, Sequence[int]]
    kept: tuple[Kept, ...]
    num_outliving_bytes: int = 0

    @property
    def num_calls(self) -> int:
        """How many were made."""
        return len(self.live_bytes[DEVICE])

    @property
    def leaks(self) -> dict[str, float]:
        """Bytes a call in each memory that still grew at the end."""
        return {
            memory: _slope(live_bytes)
            for memory, live_bytes in self.live_bytes.items()
            if grows(live_bytes, _LAST)
        }


def grows(live_bytes: Sequence[int], part: int = 2) -> bool:
    """Whether more was alive in the last part than ever before.

    What is filled once, and what drops its oldest, comes to an end of its growth; so does a list
    that is emptied every so many calls.

    Args:
        live_bytes: what was alive after each call.
        part: the last half, third, ...
    """
    first = len(live_bytes) - max(1, len(live_bytes) // part)
    return max(live_bytes[first:], default=0) > max(live_bytes[:first], default=0)


def is_settled(live_bytes: Iterable[Sequence[int]]) -> bool:
    """Whether further calls would tell nothing: in no memory the later half grew."""
    return all(len(each) >= MIN_CALLS and not grows(each) for each in live_bytes)


def _slope(live_bytes: Sequence[int]) -> float:
    middle = len(live_bytes) // 2
    return (live_bytes[-1] - live_bytes[middle - 1]) / (len(live_bytes) - middle)


def steps_of(trace: Trace) -> list[tuple[Event, ...]]:
    """The events of each step, between the marks of a trace; before the first mark is no step."""
    return [trace.events[start:end] for start, end in pairwise(trace.marks)]


def line_of(allocations: Iterable[Allocation]) -> Frame | None:
    """The line that asked for most of these bytes; None where no line under test did."""
    sizes: Counter[Frame] = Counter()
    for allocation in allocations:
        if allocation.stack:
            sizes[allocation.stack[0]] += allocation.requested_bytes
    return sizes.most_common(1)[0][0] if sizes else None
