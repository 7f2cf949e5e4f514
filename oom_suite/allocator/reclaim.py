"""Giving cached segments back to the driver: all, just enough, or the old ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.allocator.expandable import unmap
from oom_suite.allocator.segments import release_segment

if TYPE_CHECKING:
    from oom_suite.allocator.pools import BlockPool
    from oom_suite.allocator.state import State


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
