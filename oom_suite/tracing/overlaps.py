"""What a thread may still have taken while another one goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oom_suite.records import Frame

    Request = tuple[Any, ...]


class Overlaps:
    """The requests and events of a recorder, to which bounds for what happens at once are added.

    Threads are recorded one after the other. One that could have run at the same time goes on
    here beside the most that the others had: what they freed meanwhile is requested again, as a
    bound, so that the sum never is less than what any order of the two can reach.

    Args:
        requests: what was asked for: bytes, operator, stack, and whether it is a bound.
        events: allocations and frees of them.
    """

    def __init__(self, requests: list[Request], events: list[tuple[str, int]]) -> None:
        """Nothing is held yet."""
        self._requests = requests
        self._events = events

    def position(self) -> int:
        """Where the record ends now."""
        return len(self._events)

    def hold(self, since: int) -> list[int]:
        """Request again what was freed of the most that was live since then.

        Returns:
            the allocations made; none where nothing is live less than it was.
        """
        live: dict[int, None] = {}
        num_bytes = most_bytes = 0
        at_most: dict[int, None] = {}
        for number, (kind, allocation) in enumerate(self._events):
            if number == since:
                most_bytes, at_most = num_bytes, dict(live)
            size = self._requests[allocation][0]
            if kind == "free":
                del live[allocation]
                num_bytes -= size
                continue
            live[allocation] = None
            num_bytes += size
            if number >= since and num_bytes > most_bytes:
                most_bytes, at_most = num_bytes, dict(live)
        return self._again(at_most.keys() - live.keys(), most_bytes - num_bytes)

    def _again(self, freed: set[int], missing_bytes: int) -> list[int]:
        made: list[int] = []
        for allocation in sorted(freed, key=lambda each: (-self._requests[each][0], each)):
            if missing_bytes <= 0:
                break
            size, op, stack = self._requests[allocation][:3]
            size = min(size, missing_bytes)
            missing_bytes -= size
            made.append(self._request(size, op, stack))
        return made

    def _request(self, num_bytes: int, op: str, stack: tuple[Frame, ...]) -> int:
        allocation = len(self._requests)
        self._requests.append((num_bytes, op, stack, True))
        self._events.append(("alloc", allocation))
        return allocation

    def release(self, allocations: list[int]) -> None:
        """Free what `hold` gave."""
        self._events.extend(("free", allocation) for allocation in allocations)


def in_order(events: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """The events, frees that follow one another in the order of what they free.

    A thread needs no turn to drop a tensor: which of two drops theirs first differs from run to
    run, and no sum with it.
    """
    ordered: list[tuple[str, int]] = []
    frees: list[tuple[str, int]] = []
    for event in events:
        if event[0] == "free":
            frees.append(event)
            continue
        ordered += (*sorted(frees), event)
        frees.clear()
    return [*ordered, *sorted(frees)]


class UnorderedOverlaps(Overlaps):
    """Where sizes are symbols nobody can say when the others had most.

    Attributes:
        are_needed: whether that would have had to be said.
    """

    def __init__(self, requests: list[Request], events: list[tuple[str, int]]) -> None:
        """None is needed yet."""
        super().__init__(requests, events)
        self.are_needed = False

    def hold(self, since: int) -> list[int]:
        """Nothing; but remember that something was freed since then."""
        if any(kind == "free" for kind, _ in self._events[since:]):
            self.are_needed = True
        return []
