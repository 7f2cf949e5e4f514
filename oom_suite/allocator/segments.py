"""Ordinary segments: one call to the driver each, given back whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.allocator.blocks import Block

if TYPE_CHECKING:
    from oom_suite.allocator.pools import BlockPool
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
