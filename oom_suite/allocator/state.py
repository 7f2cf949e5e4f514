"""What every rule of the allocator works on: settings, driver, pools, counters, and a log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oom_suite.allocator.pools import BlockPool
from oom_suite.allocator.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.allocator.driver import Driver
    from oom_suite.allocator.settings import AllocatorSettings


@dataclass(frozen=True, slots=True)
class Step:
    """One thing the allocator did, by the names of ``torch.cuda.memory._snapshot()``.

    Attributes:
        action: ``alloc``, ``free_requested``, ``free_completed``, ``segment_alloc``,
            ``segment_free``, ``segment_map``, ``segment_unmap`` or ``oom``.
        address: where; for ``oom`` what the device had free, 0 where that is not modelled.
        num_bytes: the bytes requested for ``alloc`` and both frees, otherwise those of the
            segment, of the range, or of the block that could not be had.
        stream: whose.
    """

    action: str
    address: int
    num_bytes: int
    stream: int


@dataclass(slots=True)
class State:
    """The allocator's state. The rules in this package read and change it.

    Attributes:
        settings: what is configured.
        driver: where segments come from.
        log: is given each step, in order; None when nobody listens.
        in_own_pool: whether the calls are made in a ``torch.cuda.MemPool``, whose cached
            segments a failing request does not give back.
        small, large: the two pools.
        statistics: the counters.
    """

    settings: AllocatorSettings
    driver: Driver
    log: Callable[[Step], None] | None = None
    in_own_pool: bool = False
    small: BlockPool = field(default_factory=lambda: BlockPool(is_small=True))
    large: BlockPool = field(default_factory=lambda: BlockPool(is_small=False))
    statistics: Statistics = field(default_factory=Statistics)

    @property
    def collects_garbage(self) -> bool:
        """Whether garbage collection is on; it needs a limit."""
        return (
            self.settings.garbage_collection_threshold > 0 and self.driver.limit_bytes is not None
        )

    def is_oversize(self, num_bytes: int) -> bool:
        """Whether a block or segment is too large to be split."""
        limit = self.settings.max_split_size_bytes
        return limit is not None and num_bytes >= limit

    def tell(self, action: str, address: int, num_bytes: int, stream: int) -> None:
        """Write one step to the log."""
        if self.log is not None:
            self.log(Step(action, address, num_bytes, stream))
