"""What the allocator holds and cannot use: fragmentation at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oom_suite.allocator.model import CachingAllocator


@dataclass(frozen=True, slots=True)
class Fragmentation:
    """Reserved bytes that nothing is in.

    Attributes:
        unused_bytes: reserved minus allocated.
        largest_free_block_bytes: the largest cached block; 0 when none is cached.
        inactive_split_bytes: cached parts of segments that are partly in use, which no
            release can give back; torch does not count expandable segments here.
    """

    unused_bytes: int
    largest_free_block_bytes: int
    inactive_split_bytes: int


def fragmentation(allocator: CachingAllocator) -> Fragmentation:
    """The fragmentation of an allocator as it is now."""
    counters = allocator.statistics.all
    return Fragmentation(
        unused_bytes=counters.reserved_bytes.current - counters.allocated_bytes.current,
        largest_free_block_bytes=max(
            (block.num_bytes for block in allocator.free_blocks()), default=0
        ),
        inactive_split_bytes=counters.inactive_split_bytes.current,
    )
