"""The CUDA/HIP caching allocator, modelled: from requests to every counter torch keeps."""

from oom_suite.allocator.failure import AllocatorOutOfMemoryError, Refusal
from oom_suite.allocator.fragmentation import Fragmentation, fragmentation
from oom_suite.allocator.model import CachingAllocator
from oom_suite.allocator.replay import Replayed, peaks_of, replay
from oom_suite.allocator.rounding import MIN_BLOCK_BYTES, round_request
from oom_suite.allocator.settings import AllocatorSettings
from oom_suite.allocator.settings_text import parse_settings

__all__ = [
    "MIN_BLOCK_BYTES",
    "AllocatorOutOfMemoryError",
    "AllocatorSettings",
    "CachingAllocator",
    "Fragmentation",
    "Refusal",
    "Replayed",
    "fragmentation",
    "parse_settings",
    "peaks_of",
    "replay",
    "round_request",
]
