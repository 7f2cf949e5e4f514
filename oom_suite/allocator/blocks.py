"""A block: a range of a segment, in use or free, and its neighbours."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oom_suite.allocator.pools import BlockPool


@dataclass(slots=True, eq=False, repr=False)
class Block:
    """A range of one segment; its neighbours in the segment are `before` and `after`.

    Attributes:
        stream: the stream it belongs to; it never serves another one.
        num_bytes: its size.
        address: where it begins.
        pool: the pool that it returns to.
        segment_address: where its expandable segment begins; None in an ordinary segment.
        mapped: whether memory stands behind it; only expandable segments have holes.
        allocated: whether a request holds it.
        requested_bytes: what that request asked for.
        age_base: the pool's number of searches when the block became free.

    Source: PyTorch 2.11, ``c10/cuda/CUDACachingAllocator.cpp``, ``struct Block``.
    """

    pool: BlockPool
    stream: int
    num_bytes: int
    address: int
    _: KW_ONLY
    segment_address: int | None = None
    mapped: bool = True
    allocated: bool = field(default=False, init=False)
    requested_bytes: int = field(default=0, init=False)
    age_base: int = field(default=0, init=False)
    before: Block | None = field(default=None, init=False)
    after: Block | None = field(default=None, init=False)

    @property
    def is_split(self) -> bool:
        """Whether it is only a part of its segment."""
        return self.before is not None or self.after is not None

    def link(self, before: Block | None, after: Block | None) -> None:
        """Stand between two blocks that were neighbours until now."""
        self.before, self.after = before, after
        if before is not None:
            before.after = self
        if after is not None:
            after.before = self

    def split_front(self, num_bytes: int) -> Block:
        """A new block of the first bytes; what remains of this one begins after it."""
        front = Block(
            self.pool,
            self.stream,
            num_bytes,
            self.address,
            segment_address=self.segment_address,
            mapped=self.mapped,
        )
        front.link(self.before, self)
        self.address += num_bytes
        self.num_bytes -= num_bytes
        return front

    def split_back(self, num_bytes: int) -> Block:
        """A new block of the last bytes; this one ends before it."""
        back = Block(
            self.pool,
            self.stream,
            num_bytes,
            self.address + self.num_bytes - num_bytes,
            segment_address=self.segment_address,
            mapped=self.mapped,
        )
        back.link(self, self.after)
        self.num_bytes -= num_bytes
        return back

    def merge(self, other: Block | None) -> int:
        """Take over a free neighbour of the same kind; the bytes gained, 0 when it is not one.

        The neighbour leaves its pool. This block is in no pool while it merges.

        Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``try_merge_blocks``.
        """
        if other is None or other.allocated or other.mapped != self.mapped:
            return 0
        self.pool.discard(other)
        if self.before is other:
            self.address = other.address
            self.before = other.before
            if self.before is not None:
                self.before.after = self
        else:
            self.after = other.after
            if self.after is not None:
                self.after.before = self
        self.num_bytes += other.num_bytes
        return other.num_bytes
