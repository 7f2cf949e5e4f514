"""The settings of the caching allocator, with the values PyTorch starts from."""

from __future__ import annotations

from dataclasses import dataclass

from oom_suite.units import MIB

NUM_ROUNDUP_INTERVALS = 16
"""Size classes of `roundup_power2_divisions`: 1 MiB, 2 MiB, ... 32 GiB and above.

Source: PyTorch 2.11, ``c10/core/AllocatorConfig.cpp``, ``kRoundUpPowerOfTwoIntervals``.
"""

DEFAULT_LARGE_SEGMENT_BYTES = 20 * MIB
"""Segment that requests over 1 MiB and under 10 MiB share.

Source: PyTorch 2.13, ``c10/core/AllocatorConfig.h``, ``large_segment_size_``; earlier the
constant ``kLargeBuffer``, of the same value.
"""


@dataclass(frozen=True, slots=True)
class AllocatorSettings:
    """What `PYTORCH_ALLOC_CONF` can change about where blocks come from.

    Attributes:
        max_split_size_bytes: blocks of this size and above are never split, and serve only
            requests of this size and above; None splits every block.
        max_non_split_rounding_bytes: how much larger than the request an unsplittable block
            may be; it must be less than request plus this.
        roundup_power2_divisions: for each size class from 1 MiB to 32 GiB, into how many
            steps the space between two powers of two is cut; 0 and 1 round to 512 bytes.
        garbage_collection_threshold: share of the limit above which cached segments are
            given back before the driver is asked; 0 never. It acts only under a limit.
        expandable_segments: one growing segment for each stream and pool.
        large_segment_bytes: the segment that middle-sized requests share.

    Source: PyTorch 2.13, ``c10/core/AllocatorConfig.h``, ``AcceleratorAllocatorConfig``.
    """

    max_split_size_bytes: int | None = None
    max_non_split_rounding_bytes: int = 20 * MIB
    roundup_power2_divisions: tuple[int, ...] = (0,) * NUM_ROUNDUP_INTERVALS
    garbage_collection_threshold: float = 0.0
    expandable_segments: bool = False
    large_segment_bytes: int = DEFAULT_LARGE_SEGMENT_BYTES
