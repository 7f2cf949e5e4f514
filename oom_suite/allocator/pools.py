"""Segments and the free blocks in them: which one serves a request."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from oom_suite.allocator.blocks import Block
from oom_suite.allocator.rounding import MAX_SMALL_BYTES, MIN_BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oom_suite.allocator.settings import AllocatorSettings
    from oom_suite.allocator.state import State


def take_segment(state: State, pool: BlockPool, stream: int, num_bytes: int) -> Block | None:
    """A new segment as one block that is in no pool; None when the device has no room.

    Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``alloc_block``.
    """
    if not state.driver.has(num_bytes):
        return None
    state.driver.taken_bytes += num_bytes
    block = Block(pool, stream, num_bytes, state.driver.place(num_bytes))
    for counters in state.statistics.of(is_small=pool.is_small):
        counters.segment.increase(1)
        counters.reserved_bytes.increase(num_bytes)
    if state.is_oversize(num_bytes):
        state.statistics.oversize_segments.increase(1)
    state.statistics.num_device_alloc += 1
    state.tell("segment_alloc", block.address, num_bytes, stream)
    return block


def release_segment(state: State, block: Block) -> None:
    """Give back a segment that is one free block.

    Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``release_block``.
    """
    state.statistics.num_device_free += 1
    state.tell("segment_free", block.address, block.num_bytes, block.stream)
    state.driver.taken_bytes -= block.num_bytes
    for counters in state.statistics.of(is_small=block.pool.is_small):
        counters.segment.decrease(1)
        counters.reserved_bytes.decrease(block.num_bytes)
    if state.is_oversize(block.num_bytes):
        state.statistics.oversize_segments.decrease(1)
    block.pool.discard(block)


class BlockPool:
    """The free blocks of the small or of the large pool, in the order they are searched.

    Attributes:
        is_small: whether it holds blocks of up to 1 MiB.
        num_searches: searches so far, counted while garbage collection is on.

    Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``struct BlockPool``, and the orders
    ``BlockComparatorSize`` (stream, size, address) and ``BlockComparatorAddress``.
    """

    def __init__(self, *, is_small: bool) -> None:
        self.is_small = is_small
        self.num_searches = 0
        self._order: list[tuple[int, int, int]] = []
        self._free: dict[int, Block] = {}
        self._unmapped_order: list[tuple[int, int]] = []
        self._unmapped: dict[int, Block] = {}

    def __iter__(self) -> Iterator[Block]:
        """The free blocks that memory stands behind, in order, as they are now."""
        return iter([self._free[address] for _, _, address in self._order])

    def insert(self, block: Block) -> None:
        """Hold a free block; its age starts over."""
        if not block.mapped:
            insort(self._unmapped_order, (block.stream, block.address))
            self._unmapped[block.address] = block
            return
        block.age_base = self.num_searches
        insort(self._order, (block.stream, block.num_bytes, block.address))
        self._free[block.address] = block

    def discard(self, block: Block) -> None:
        """Let a block go that the pool holds, before its size or place changes."""
        if not block.mapped:
            del self._unmapped_order[
                bisect_left(self._unmapped_order, (block.stream, block.address))
            ]
            del self._unmapped[block.address]
            return
        del self._order[bisect_left(self._order, (block.stream, block.num_bytes, block.address))]
        del self._free[block.address]

    def unmapped_of(self, stream: int) -> Iterator[Block]:
        """The ranges of a stream's expandable segments without memory, lowest address first."""
        for position in range(bisect_left(self._unmapped_order, (stream, 0)), len(self._unmapped)):
            of_stream, address = self._unmapped_order[position]
            if of_stream != stream:
                return
            yield self._unmapped[address]

    def at_least(self, stream: int, num_bytes: int) -> Block | None:
        """The smallest free block of a stream that is large enough, lowest address first."""
        position = bisect_left(self._order, (stream, num_bytes, 0))
        if position == len(self._order) or self._order[position][0] != stream:
            return None
        return self._free[self._order[position][2]]

    def below(self, stream: int, num_bytes: int) -> list[Block]:
        """The free blocks of a stream that are smaller, largest first."""
        first = bisect_left(self._order, (stream, 0, 0))
        end = bisect_left(self._order, (stream, num_bytes, 0))
        return [self._free[self._order[i][2]] for i in range(end - 1, first - 1, -1)]

    def take_best_fit(
        self, stream: int, num_bytes: int, settings: AllocatorSettings
    ) -> Block | None:
        """The cached block that serves a request, taken out of the pool; None when none may.

        Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``get_free_block``.
        """
        order = self._order
        position = bisect_left(order, (stream, num_bytes, 0))
        if position == len(order) or order[position][0] != stream:
            return None
        block = self._free[order[position][2]]
        if block.segment_address is not None:
            position, block = self._smallest_reach(position, block)
        limit = settings.max_split_size_bytes
        if limit is not None:
            if num_bytes < limit <= block.num_bytes:
                return None
            most = num_bytes + settings.max_non_split_rounding_bytes
            if num_bytes >= limit and block.num_bytes >= most:
                return None
        del order[position]
        del self._free[block.address]
        return block

    def _smallest_reach(self, position: int, block: Block) -> tuple[int, Block]:
        """In expandable segments: the block whose size, its room to grow included, is least."""
        order = self._order
        while block.segment_address is not None and position + 1 < len(order):
            stream, _, address = order[position + 1]
            following = self._free[address]
            if stream != block.stream or _reach_bytes(following) >= _reach_bytes(block):
                break
            position, block = position + 1, following
        return position, block


def _reach_bytes(block: Block) -> int:
    """What a block could grow to: its size and the unmapped range right after it."""
    after = block.after
    return block.num_bytes + (after.num_bytes if after is not None and not after.mapped else 0)


def should_split(block: Block, num_bytes: int, settings: AllocatorSettings) -> bool:
    """Whether a block that serves `num_bytes` gives its remainder back to the pool.

    Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``should_split``.
    """
    remaining_bytes = block.num_bytes - num_bytes
    if block.pool.is_small or settings.expandable_segments:
        return remaining_bytes >= MIN_BLOCK_BYTES
    limit = settings.max_split_size_bytes
    return remaining_bytes > MAX_SMALL_BYTES and (limit is None or num_bytes < limit)
