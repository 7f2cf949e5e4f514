"""The driver under the allocator: how much it still gives, and at which addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.allocator.rounding import SEGMENT_STEP_BYTES, round_up

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_ADDRESS = 1 << 40
ADDRESS_SPACE_BYTES = 1 << 44
"""Address range of one expandable segment.

The real one is 9/8 of the device's memory; what matters is that it never fills up.
"""


def ascending() -> Callable[[int], int]:
    """Addresses for new segments, each after the one before it, 2 MiB aligned."""
    upcoming = _FIRST_ADDRESS

    def place(num_bytes: int) -> int:
        nonlocal upcoming
        address = upcoming
        upcoming += round_up(num_bytes, SEGMENT_STEP_BYTES)
        return address

    return place


class Driver:
    """What the process has taken from the device, and what it may still take.

    Attributes:
        limit_bytes: what the allocator allows itself, as ``set_per_process_memory_fraction``
            sets it; None without a limit.
        free_bytes: what the device had free before the first segment; None without an end.
        place: gives the address of a new segment, or of a new expandable segment's range.
        taken_bytes: taken and not given back.
    """

    def __init__(
        self,
        limit_bytes: int | None = None,
        free_bytes: int | None = None,
        place: Callable[[int], int] | None = None,
    ) -> None:
        """A driver that has given nothing yet."""
        self.limit_bytes = limit_bytes
        self.free_bytes = free_bytes
        self.place = place or ascending()
        self.taken_bytes = 0

    def allows(self, num_bytes: int) -> bool:
        """Whether so much more stays within the limit; asked before the driver is."""
        return self.limit_bytes is None or self.taken_bytes + num_bytes <= self.limit_bytes

    def has(self, num_bytes: int) -> bool:
        """Whether the device still has so much."""
        return self.free_bytes is None or self.taken_bytes + num_bytes <= self.free_bytes

    @property
    def remaining_bytes(self) -> int | None:
        """What could still be taken: the less of limit and device; None without either."""
        ends = [end for end in (self.limit_bytes, self.free_bytes) if end is not None]
        return min(ends) - self.taken_bytes if ends else None
