"""How many bytes the caching allocator counts as allocated for one request."""

from __future__ import annotations

MIN_BLOCK_BYTES = 512
"""Smallest block, and the unit requests are rounded up to.

Source: PyTorch 2.13, ``c10/core/CachingDeviceAllocator.h``, ``kMinBlockSize``.
"""


def round_request(requested_bytes: int) -> int:
    """The bytes that one request takes in the allocator's ``allocated`` figure.

    Exact while the blocks that serve the requests are split, which is while requests are
    small against the segments; a large request can keep its segment's unsplit remainder.

    Args:
        requested_bytes: the request, in bytes; 0 takes nothing.

    Source: PyTorch 2.13, ``CUDACachingAllocator.cpp``, ``round_size`` at default settings.
    """
    return -(-requested_bytes // MIN_BLOCK_BYTES) * MIN_BLOCK_BYTES
