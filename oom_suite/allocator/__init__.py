"""The CUDA/HIP caching allocator, modelled: from requested to allocated bytes."""

from oom_suite.allocator.rounding import MIN_BLOCK_BYTES, round_request

__all__ = ["MIN_BLOCK_BYTES", "round_request"]
