"""The caching allocator itself: requests in, blocks and counters out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.allocator import driver as expandable
from oom_suite.allocator import reclaim
from oom_suite.allocator.driver import Driver
from oom_suite.allocator.pools import should_split, take_segment
from oom_suite.allocator.reclaim import AllocatorOutOfMemoryError, Refusal
from oom_suite.allocator.rounding import MAX_SMALL_BYTES, block_bytes, segment_bytes
from oom_suite.allocator.settings import AllocatorSettings
from oom_suite.allocator.state import State, Step
from oom_suite.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oom_suite.allocator.blocks import Block
    from oom_suite.allocator.pools import BlockPool
    from oom_suite.allocator.statistics import Statistics


class CachingAllocator:
    """PyTorch's CUDA/HIP caching allocator of one device, without the device.

    Not modelled: blocks that another stream still uses (``record_stream``), so that active
    always equals allocated; graph capture; several private pools at once; pools that are not
    split or serve as overflow; other backends (``cudaMallocAsync``).

    Source: PyTorch 2.11, ``c10/cuda/CUDACachingAllocator.cpp``, ``DeviceCachingAllocator``;
    each rule names its function. Its counters were compared on a device with that version;
    of 2.13 the constants and options were compared.

    **Does not prove:** what memory outside the allocator does (contexts, libraries, other
    processes), nor what the driver rounds a segment to.
    """

    def __init__(
        self,
        settings: AllocatorSettings | None = None,
        *,
        limit_bytes: int | None = None,
        free_bytes: int | None = None,
        place: Callable[[int], int] | None = None,
        log: Callable[[Step], None] | None = None,
        in_own_pool: bool = False,
    ) -> None:
        """An allocator that holds nothing.

        Args:
            settings: what is configured; None for PyTorch's defaults.
            limit_bytes: what the process allows itself (the memory fraction, in bytes).
            free_bytes: what the device has free.
            place: given the bytes of a new segment, its address; addresses decide between
                blocks of one size. None puts each segment after the one before.
            log: is given each step, in the words of ``torch.cuda.memory._snapshot()``.
            in_own_pool: the requests are made in a ``torch.cuda.MemPool`` of their own; its
                cached segments are not given back when a request fails, nor collected.
        """
        self._state = State(
            settings or AllocatorSettings(),
            Driver(limit_bytes, free_bytes, place),
            log=log,
            in_own_pool=in_own_pool,
        )
        self._in_use: dict[int, Block] = {}

    @property
    def settings(self) -> AllocatorSettings:
        """What is configured."""
        return self._state.settings

    @property
    def statistics(self) -> Statistics:
        """The counters, as they are now."""
        return self._state.statistics

    def free_blocks(self) -> Iterator[Block]:
        """Every cached block that memory stands behind, small pool first."""
        yield from self._state.small
        yield from self._state.large

    def malloc(self, num_bytes: int, stream: int = 0) -> int:
        """The address of a block that serves a request; 0 for a request of no bytes.

        Args:
            num_bytes: what is asked for.
            stream: for whose work; a block never changes streams.

        Raises:
            AllocatorOutOfMemoryError: neither cache nor driver could serve it.
            UsageError: the request is negative.

        Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``malloc``.
        """
        if num_bytes <= 0:
            if num_bytes == 0:
                return 0
            raise UsageError(f"cannot allocate {num_bytes} bytes: ask for 0 or more")
        state = self._state
        size_bytes = block_bytes(num_bytes, state.settings)
        pool = state.small if size_bytes <= MAX_SMALL_BYTES else state.large
        if state.collects_garbage:
            pool.num_searches += 1
        block = pool.take_best_fit(stream, size_bytes, state.settings)
        if block is None:
            block = self._from_driver(pool, stream, num_bytes, size_bytes)
        return self._hand_out(block, num_bytes, size_bytes)

    def free(self, address: int) -> None:
        """Take back the block at an address; address 0 is ignored.

        Raises:
            UsageError: no request holds a block there.

        Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``free`` and ``free_block``.
        """
        if address == 0:
            return
        block = self._in_use.pop(address, None)
        if block is None:
            raise UsageError(f"cannot free {address:#x}: no block in use begins there")
        state, num_bytes, requested_bytes = self._state, block.num_bytes, block.requested_bytes
        block.allocated = False
        state.tell("free_requested", address, requested_bytes, block.stream)
        state.tell("free_completed", address, requested_bytes, block.stream)
        before_bytes, after_bytes = block.merge(block.before), block.merge(block.after)
        block.pool.insert(block)
        num_inactive = -(before_bytes > 0) - (after_bytes > 0)
        inactive_bytes = -before_bytes - after_bytes
        if block.is_split:
            num_inactive += 1
            inactive_bytes += block.num_bytes
        for counters in state.statistics.of(is_small=block.pool.is_small):
            counters.allocation.decrease(1)
            counters.allocated_bytes.decrease(num_bytes)
            counters.active.decrease(1)
            counters.active_bytes.decrease(num_bytes)
            counters.requested_bytes.decrease(requested_bytes)
            if block.segment_address is None:
                counters.inactive_split.change(num_inactive)
                counters.inactive_split_bytes.change(inactive_bytes)
        if state.is_oversize(num_bytes):
            state.statistics.oversize_allocations.decrease(1)

    def empty_cache(self) -> None:
        """Give every cached segment and page back, as ``torch.cuda.empty_cache`` does.

        While requests go to a pool of their own it gives nothing back, as torch does.
        """
        if not self._state.in_own_pool:
            reclaim.release_all(self._state)

    def _from_driver(self, pool: BlockPool, stream: int, num_bytes: int, size_bytes: int) -> Block:
        """New memory; when there is none, after giving back more and more of the cache."""
        state = self._state
        if state.collects_garbage and not state.in_own_pool:
            reclaim.collect_garbage(state)
        block = self._ask_driver(pool, stream, size_bytes)
        if block is None and reclaim.release_oversize(state, pool, stream, size_bytes):
            block = self._ask_driver(pool, stream, size_bytes)
        if block is None and not state.in_own_pool:
            reclaim.release_all(state)
            state.statistics.num_alloc_retries += 1
            block = self._ask_driver(pool, stream, size_bytes)
        if block is not None:
            return block
        state.statistics.num_ooms += 1
        remaining_bytes = state.driver.remaining_bytes or 0
        state.tell("oom", remaining_bytes, size_bytes, stream)
        raise AllocatorOutOfMemoryError(
            Refusal(
                requested_bytes=num_bytes,
                segment_bytes=segment_bytes(size_bytes, state.settings),
                reserved_bytes=state.statistics.all.reserved_bytes.current,
                allocated_bytes=state.statistics.all.allocated_bytes.current,
                remaining_bytes=remaining_bytes,
                limit_bytes=state.driver.limit_bytes,
            )
        )

    def _ask_driver(self, pool: BlockPool, stream: int, size_bytes: int) -> Block | None:
        """One try. The limit counts a whole segment, also where a page would do.

        Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``alloc_block``.
        """
        state = self._state
        num_bytes = segment_bytes(size_bytes, state.settings)
        if not state.driver.allows(num_bytes):
            return None
        if state.settings.expandable_segments:
            return expandable.grow(state, pool, stream, size_bytes)
        return take_segment(state, pool, stream, num_bytes)

    def _hand_out(self, block: Block, num_bytes: int, size_bytes: int) -> int:
        """Split a block that is in no pool, count it, and give its address.

        Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``alloc_found_block``.
        """
        state = self._state
        was_split, inactive_bytes, num_inactive = block.is_split, 0, 0
        if should_split(block, size_bytes, state.settings):
            remaining = block
            block = remaining.split_front(size_bytes)
            block.pool.insert(remaining)
            inactive_bytes = -size_bytes if was_split else remaining.num_bytes
            num_inactive = 0 if was_split else 1
        elif was_split:
            inactive_bytes, num_inactive = -block.num_bytes, -1
        block.allocated = True
        block.requested_bytes = num_bytes
        self._in_use[block.address] = block
        state.tell("alloc", block.address, num_bytes, block.stream)
        for counters in state.statistics.of(is_small=block.pool.is_small):
            counters.allocation.increase(1)
            counters.allocated_bytes.increase(block.num_bytes)
            counters.active.increase(1)
            counters.active_bytes.increase(block.num_bytes)
            counters.requested_bytes.increase(num_bytes)
            if block.segment_address is None:
                counters.inactive_split.change(num_inactive)
                counters.inactive_split_bytes.change(inactive_bytes)
        if state.is_oversize(block.num_bytes):
            state.statistics.oversize_allocations.increase(1)
        return block.address
