"""What the allocator asks the driver for: plain segments, and expandable ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.allocator.blocks import Block
from oom_suite.allocator.rounding import SEGMENT_STEP_BYTES, SMALL_SEGMENT_BYTES, round_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.allocator.pools import BlockPool
    from oom_suite.allocator.state import State


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


def page_bytes(state: State, pool: BlockPool) -> int:
    """The unit that a pool's expandable segments are mapped in."""
    return SMALL_SEGMENT_BYTES if pool.is_small else state.settings.large_segment_bytes


def grow(state: State, pool: BlockPool, stream: int, num_bytes: int) -> Block | None:
    """A block of at least `num_bytes`, in no pool, of newly mapped memory; None without room.

    Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``try_allocate_expandable_block``.
    """
    block = _lowest_room(state, pool, stream, num_bytes)
    if not block.mapped and not _map(state, block, min(block.num_bytes, num_bytes)):
        return None
    while block.num_bytes < num_bytes:
        following = block.after
        assert following is not None, "an expandable segment ends in unmapped addresses"
        if not _map(state, following, min(num_bytes - block.num_bytes, following.num_bytes)):
            return None
        # Mapping merged what came before into it.
        block = following
    pool.discard(block)
    return block


def _lowest_room(state: State, pool: BlockPool, stream: int, num_bytes: int) -> Block:
    """The first block of the lowest run of free ranges that is long enough.

    Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``find_expandable_block``.
    """
    for unmapped in pool.unmapped_of(stream):
        first = unmapped
        if first.before is not None and not first.before.allocated:
            first = first.before
        room_bytes = 0
        block: Block | None = first
        while block is not None and not block.allocated and room_bytes < num_bytes:
            room_bytes += block.num_bytes
            block = block.after
        if room_bytes >= num_bytes:
            return first
    size = round_up(max(ADDRESS_SPACE_BYTES, num_bytes), page_bytes(state, pool))
    address = state.driver.place(size)
    whole = Block(pool, stream, size, address, segment_address=address, mapped=False)
    pool.insert(whole)
    return whole


def _map(state: State, block: Block, num_bytes: int) -> bool:
    """Put memory behind the first pages of an unmapped block, and free it into its pool.

    Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``map_block``.
    """
    pool = block.pool
    mapped_bytes = round_up(num_bytes, page_bytes(state, pool))
    if not state.driver.has(mapped_bytes):
        return False
    address = block.address
    pool.discard(block)
    if mapped_bytes < block.num_bytes:
        pool.insert(block.split_back(block.num_bytes - mapped_bytes))
    block.mapped = True
    block.merge(block.before)
    block.merge(block.after)
    pool.insert(block)
    state.driver.taken_bytes += mapped_bytes
    for counters in state.statistics.of(is_small=pool.is_small):
        counters.reserved_bytes.increase(mapped_bytes)
    state.statistics.num_device_alloc += 1
    state.tell("segment_map", address, mapped_bytes, block.stream)
    return True


def unmap(state: State, block: Block) -> None:
    """Give back the whole pages inside a free block; its ends stay cached.

    Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``unmap_block`` and
    ``release_expandable_segment``.
    """
    pool, page = block.pool, page_bytes(state, block.pool)
    assert block.segment_address is not None, "only expandable segments are unmapped"
    offset = block.address - block.segment_address
    begin = round_up(offset, page)
    end = (offset + block.num_bytes) // page * page
    if begin >= end:
        return
    pool.discard(block)
    if begin > offset:
        pool.insert(block.split_front(begin - offset))
    if block.num_bytes > end - begin:
        pool.insert(block.split_back(block.num_bytes - (end - begin)))
    address = block.address
    block.mapped = False
    block.merge(block.before)
    block.merge(block.after)
    if block.is_split:
        # A segment without any memory is dropped, range and all.
        pool.insert(block)
    num_bytes = end - begin
    state.driver.taken_bytes -= num_bytes
    for counters in state.statistics.of(is_small=pool.is_small):
        counters.reserved_bytes.decrease(num_bytes)
    state.statistics.num_device_free += 1
    state.tell("segment_unmap", address, num_bytes, block.stream)
