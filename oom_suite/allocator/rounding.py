"""From the bytes asked for to the bytes of a block, and of the segment it is cut from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.units import MIB

if TYPE_CHECKING:
    from oom_suite.allocator.settings import AllocatorSettings

MIN_BLOCK_BYTES = 512
"""Smallest block, and the unit requests are rounded up to.

Source: PyTorch 2.13, ``c10/core/AllocatorConfig.h``, ``kMinBlockSize``.
"""

MAX_SMALL_BYTES = MIB
"""Largest block of the small pool.

Source: PyTorch 2.13, ``c10/core/AllocatorConfig.h``, ``kSmallSize``.
"""

SMALL_SEGMENT_BYTES = 2 * MIB
"""Segment of the small pool.

Source: PyTorch 2.13, ``c10/core/AllocatorConfig.h``, ``kSmallBuffer``.
"""

MIN_OWN_SEGMENT_BYTES = 10 * MIB
"""A block of this size and above gets a segment of its own.

Source: PyTorch 2.13, ``c10/core/AllocatorConfig.h``, ``kMinLargeAlloc``.
"""

SEGMENT_STEP_BYTES = 2 * MIB
"""The unit that a segment of its own is rounded up to.

Source: PyTorch 2.13, ``c10/core/AllocatorConfig.h``, ``kRoundLarge``.
"""


def round_up(num_bytes: int, step_bytes: int) -> int:
    """The next multiple of `step_bytes`, the number itself when it is one."""
    return -(-num_bytes // step_bytes) * step_bytes


def round_request(requested_bytes: int) -> int:
    """The bytes that one request takes in the allocator's ``allocated`` figure.

    Exact while the blocks that serve the requests are split, which is while requests are
    small against the segments; a large request can keep its segment's unsplit remainder,
    which `oom_suite.allocator.peaks_of` models.

    Source: PyTorch 2.13, ``CUDACachingAllocator.cpp``, ``round_size`` at default settings.
    """
    return round_up(requested_bytes, MIN_BLOCK_BYTES)


def taken_alone(requested_bytes: int) -> int:
    """The bytes that a request takes where nothing cached fits it, at default settings.

    A request with a segment of its own keeps what is left of it, up to 1 MiB.

    Source: PyTorch 2.11, ``c10/cuda/CUDACachingAllocator.cpp``, ``get_allocation_size`` and
    ``should_split``.
    """
    rounded_bytes = round_request(requested_bytes)
    if rounded_bytes < MIN_OWN_SEGMENT_BYTES:
        return rounded_bytes
    own_bytes = round_up(rounded_bytes, SEGMENT_STEP_BYTES)
    return rounded_bytes if own_bytes - rounded_bytes > MAX_SMALL_BYTES else own_bytes


def block_bytes(requested_bytes: int, settings: AllocatorSettings) -> int:
    """The size of block that a request of at least one byte looks for.

    Source: PyTorch 2.11, ``c10/cuda/CUDACachingAllocator.cpp``, ``round_size``.
    """
    if requested_bytes < MIN_BLOCK_BYTES:
        return MIN_BLOCK_BYTES
    classes = settings.roundup_power2_divisions
    size_class = min(max(requested_bytes.bit_length() - MIB.bit_length(), 0), len(classes) - 1)
    num_divisions = classes[size_class]
    if num_divisions > 1 and requested_bytes > MIN_BLOCK_BYTES * num_divisions:
        return _next_division(requested_bytes, num_divisions)
    return round_up(requested_bytes, MIN_BLOCK_BYTES)


def _next_division(requested_bytes: int, num_divisions: int) -> int:
    """The next of the steps that cut the space up to the next power of two.

    Source: PyTorch 2.11, ``CUDACachingAllocator.cpp``, ``roundup_power2_next_division``.
    """
    power_below = 1 << (requested_bytes.bit_length() - 1)
    return round_up(requested_bytes, power_below // num_divisions)


def segment_bytes(block_size_bytes: int, settings: AllocatorSettings) -> int:
    """What the driver is asked for when no cached block fits.

    Source: PyTorch 2.11, ``c10/cuda/CUDACachingAllocator.cpp``, ``get_allocation_size``.
    """
    if block_size_bytes <= MAX_SMALL_BYTES:
        return SMALL_SEGMENT_BYTES
    if block_size_bytes < MIN_OWN_SEGMENT_BYTES:
        return settings.large_segment_bytes
    return round_up(block_size_bytes, SEGMENT_STEP_BYTES)
