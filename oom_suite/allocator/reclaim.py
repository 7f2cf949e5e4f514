"""What the allocator gives back before it gives up, and how it fails when that is not enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.allocator.driver import unmap
from oom_suite.allocator.pools import release_segment
from oom_suite.errors import OomSuiteError
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from oom_suite.allocator.pools import BlockPool
    from oom_suite.allocator.state import State


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request failed, after everything cached was given back.

    Attributes:
        requested_bytes: the request.
        segment_bytes: what the driver was asked for; torch names this one in its message.
        reserved_bytes: what the allocator held then.
        allocated_bytes: what of it was in use.
        remaining_bytes: what the driver or the limit still allowed.
        limit_bytes: the allocator's own limit; None without one.
    """

    requested_bytes: int
    segment_bytes: int
    reserved_bytes: int
    allocated_bytes: int
    remaining_bytes: int
    limit_bytes: int | None

    def __str__(self) -> str:
        """The refusal in one line, in torch's units."""
        limit = "" if self.limit_bytes is None else f" of {format_bytes(self.limit_bytes)} allowed"
        return (
            f"tried to allocate {format_bytes(self.segment_bytes)}, "
            f"{format_bytes(self.remaining_bytes)} free{limit}; "
            f"{format_bytes(self.allocated_bytes)} allocated, "
            f"{format_bytes(self.reserved_bytes)} reserved"
        )


class AllocatorOutOfMemoryError(OomSuiteError):
    """The modelled allocator is out of memory.

    Attributes:
        refusal: the request and what there was.
    """

    def __init__(self, refusal: Refusal) -> None:
        """Keep the record; the message is its line."""
        super().__init__(str(refusal))
        self.refusal = refusal


def release_all(state: State) -> None:
    """Give back every segment, and every page, that nothing is in.

    Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``release_cached_blocks``.
    """
    state.statistics.num_sync_all_streams += 1
    for pool in (state.large, state.small):
        free = list(pool)
        for block in free:
            if block.segment_address is None and not block.is_split:
                release_segment(state, block)
        for block in free:
            if block.segment_address is not None:
                unmap(state, block)


def release_oversize(state: State, pool: BlockPool, stream: int, num_bytes: int) -> bool:
    """Give back unsplittable segments until `num_bytes` fit; whether they now should.

    One that is large enough alone is preferred; otherwise the largest go first.

    Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``release_available_cached_blocks``.
    """
    limit = state.settings.max_split_size_bytes
    if limit is None:
        return False
    target_bytes = max(num_bytes, limit)
    single = pool.at_least(stream, target_bytes)
    if single is not None and single.segment_address is None:
        release_segment(state, single)
        return True
    released_bytes = 0
    for block in pool.below(stream, target_bytes):
        if released_bytes >= target_bytes or not state.is_oversize(block.num_bytes):
            break
        if block.segment_address is None:
            released_bytes += block.num_bytes
            release_segment(state, block)
    return released_bytes >= target_bytes


def collect_garbage(state: State) -> None:
    """Give back large segments that were not searched out for longest, when over the threshold.

    A block's age is the number of searches in its pool since it became free. Segments of the
    average age and above go, until enough is free or nothing is left.

    Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``garbage_collect_cached_blocks``.
    """
    limit_bytes = state.driver.limit_bytes
    assert limit_bytes is not None, "garbage is collected only under a limit"
    threshold_bytes = int(state.settings.garbage_collection_threshold * float(limit_bytes))
    target_bytes = state.driver.taken_bytes - threshold_bytes
    if target_bytes <= 0:
        return
    pool = state.large
    whole = [block for block in pool if not block.is_split]
    total_age = sum(pool.num_searches - block.age_base for block in whole)
    num_left = len(whole)
    reclaimed_bytes = 0
    any_freed = True
    while reclaimed_bytes < target_bytes and any_freed and num_left:
        age_threshold = total_age / num_left
        any_freed = False
        for block in list(pool):
            age = pool.num_searches - block.age_base
            if block.is_split or block.segment_address is not None or age < age_threshold:
                continue
            any_freed = True
            reclaimed_bytes += block.num_bytes
            total_age -= age
            num_left -= 1
            release_segment(state, block)
