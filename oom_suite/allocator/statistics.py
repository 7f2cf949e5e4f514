"""The counters of `torch.cuda.memory_stats`, and how fragmented the segments are."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oom_suite.allocator.model import CachingAllocator


@dataclass(slots=True)
class Stat:
    """One counter: what it is, was at most, and all that was ever added and taken away.

    Source: PyTorch 2.11, ``c10/core/Allocator.h``, ``struct Stat``.
    """

    current: int = 0
    peak: int = 0
    allocated: int = 0
    freed: int = 0

    def increase(self, amount: int) -> None:
        """Add; the peak follows."""
        self.current += amount
        self.allocated += amount
        self.peak = max(self.current, self.peak)

    def decrease(self, amount: int) -> None:
        """Take away."""
        self.current -= amount
        self.freed += amount

    def change(self, amount: int) -> None:
        """Add what is positive, take away what is negative."""
        if amount > 0:
            self.increase(amount)
        elif amount < 0:
            self.decrease(-amount)


@dataclass(slots=True)
class PoolStatistics:
    """The counters kept for the small pool, the large pool, and both together.

    Source: PyTorch 2.11, ``c10/core/CachingDeviceAllocator.h``, ``struct DeviceStats``.
    """

    allocation: Stat = field(default_factory=Stat)
    segment: Stat = field(default_factory=Stat)
    active: Stat = field(default_factory=Stat)
    inactive_split: Stat = field(default_factory=Stat)
    allocated_bytes: Stat = field(default_factory=Stat)
    reserved_bytes: Stat = field(default_factory=Stat)
    active_bytes: Stat = field(default_factory=Stat)
    inactive_split_bytes: Stat = field(default_factory=Stat)
    requested_bytes: Stat = field(default_factory=Stat)

    def named(self) -> Iterator[tuple[str, Stat]]:
        """Every counter with its name."""
        for one in fields(self):
            yield one.name, getattr(self, one.name)


@dataclass(slots=True)
class Statistics:
    """Every counter of the allocator.

    Attributes:
        all, small, large: the counters by pool; `all` has peaks of its own.
        oversize_allocations: blocks in use of `max_split_size` and above.
        oversize_segments: segments of that size.
        num_alloc_retries: requests tried again after the whole cache was given back.
        num_ooms: requests that failed.
        num_sync_all_streams: times the whole cache was given back.
        num_device_alloc: calls to the driver for memory, mappings included.
        num_device_free: calls that gave memory back.
    """

    all: PoolStatistics = field(default_factory=PoolStatistics)
    small: PoolStatistics = field(default_factory=PoolStatistics)
    large: PoolStatistics = field(default_factory=PoolStatistics)
    oversize_allocations: Stat = field(default_factory=Stat)
    oversize_segments: Stat = field(default_factory=Stat)
    num_alloc_retries: int = 0
    num_ooms: int = 0
    num_sync_all_streams: int = 0
    num_device_alloc: int = 0
    num_device_free: int = 0

    def of(self, *, is_small: bool) -> tuple[PoolStatistics, PoolStatistics]:
        """The two sets of counters that an event in a pool changes."""
        return self.all, self.small if is_small else self.large

    def stats(self) -> Iterator[tuple[str, Stat]]:
        """Every counter that has a peak, by torch's name without the figure."""
        for pool, name in (
            (self.all, "all"),
            (self.small, "small_pool"),
            (self.large, "large_pool"),
        ):
            for counter, stat in pool.named():
                yield f"{counter}.{name}", stat
        yield "oversize_allocations", self.oversize_allocations
        yield "oversize_segments", self.oversize_segments

    def reset_peaks(self) -> None:
        """Every peak is what is current, as ``reset_peak_memory_stats`` does."""
        for _, stat in self.stats():
            stat.peak = stat.current

    def reset_accumulated(self) -> None:
        """All that was ever counted starts over, as ``reset_accumulated_memory_stats`` does."""
        for _, stat in self.stats():
            stat.allocated = stat.freed = 0
        self.num_alloc_retries = self.num_ooms = self.num_sync_all_streams = 0
        self.num_device_alloc = self.num_device_free = 0

    def to_memory_stats(self) -> dict[str, int]:
        """The counters by the names of ``torch.cuda.memory_stats``, bytes where it says so."""
        flat = {
            f"{name}.{figure}": getattr(stat, figure)
            for name, stat in self.stats()
            for figure in ("current", "peak", "allocated", "freed")
        }
        for name in (
            "num_alloc_retries",
            "num_ooms",
            "num_sync_all_streams",
            "num_device_alloc",
            "num_device_free",
        ):
            flat[name] = getattr(self, name)
        return flat


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
