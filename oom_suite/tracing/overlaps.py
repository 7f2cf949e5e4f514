"""What a thread may still have taken while another one goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oom_suite.records import Event

    Request = tuple[Any, ...]

    Record = tuple[list[Request], list[tuple[str, int]]]
    Position = tuple[int, ...]


class Overlaps:
    """The requests and events of each memory, to which bounds for what happens at once are added.

    Threads are recorded one after the other. One that could have run at the same time goes on
    here beside the most that the others had: what they freed meanwhile is requested again, as a
    bound, so that the sum never is less than what any order of the two can reach.

    Args:
        records: of each memory what was asked for (bytes, operator, stack, and whether it is a
            bound), and the allocations and frees of that.
    """

    def __init__(self, *records: Record) -> None:
        self._records = records

    def position(self) -> Position:
        """Where the records end now."""
        return tuple(len(events) for _, events in self._records)

    def hold(self, since: Position) -> list[tuple[int, int]]:
        """Request again what was freed of the most that was live since then, in each memory.

        Returns:
            memory and allocation; none where nothing is live less than it was.
        """
        return [
            (memory, allocation)
            for memory, start in enumerate(since)
            for allocation in _held(*self._records[memory], start)
        ]

    def release(self, held: list[tuple[int, int]]) -> None:
        """Free what `hold` gave."""
        for memory, allocation in held:
            self._records[memory][1].append(("free", allocation))


def _held(requests: list[Request], events: list[tuple[str, int]], since: int) -> list[int]:
    live: dict[int, None] = {}
    num_bytes = most_bytes = 0
    at_most: dict[int, None] = {}
    for number, (kind, allocation) in enumerate(events):
        if number == since:
            most_bytes, at_most = num_bytes, dict(live)
        size = requests[allocation][0]
        if kind == "free":
            del live[allocation]
            num_bytes -= size
            continue
        live[allocation] = None
        num_bytes += size
        if number >= since and num_bytes > most_bytes:
            most_bytes, at_most = num_bytes, dict(live)
    freed, missing_bytes = at_most.keys() - live.keys(), most_bytes - num_bytes
    made: list[int] = []
    for allocation in sorted(freed, key=lambda each: (-requests[each][0], each)):
        if missing_bytes <= 0:
            break
        size, op, stack = requests[allocation][:3]
        size = min(size, missing_bytes)
        missing_bytes -= size
        made.append(len(requests))
        events.append(("alloc", len(requests)))
        requests.append((size, op, stack, True))
    return made


def in_order(events: Iterable[Event], marks: Iterable[int]) -> tuple[Event, ...]:
    """The events, frees that follow one another in the order of what they free.

    A thread needs no turn to drop a tensor: which of two drops theirs first differs from run to
    run, and no sum with it.

    Args:
        events: as they came.
        marks: positions that no free crosses.
    """
    ordered: list[Event] = []
    frees: list[Event] = []
    ends = frozenset(marks)
    for number, event in enumerate(events):
        if event.kind == "alloc" or number in ends:
            ordered += sorted(frees, key=_allocation)
            frees.clear()
        (ordered if event.kind == "alloc" else frees).append(event)
    return (*ordered, *sorted(frees, key=_allocation))


def _allocation(event: Event) -> int:
    return event.allocation


class UnorderedOverlaps(Overlaps):
    """Where sizes are symbols nobody can say when the others had most.

    Attributes:
        are_needed: whether that would have had to be said.
    """

    def __init__(self, *records: Record) -> None:
        super().__init__(*records)
        self.are_needed = False

    def hold(self, since: Position) -> list[tuple[int, int]]:
        """Nothing; but remember that something was freed since then."""
        for (_, events), start in zip(self._records, since, strict=True):
            if any(kind == "free" for kind, _ in events[start:]):
                self.are_needed = True
        return []
