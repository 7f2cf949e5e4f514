"""The CUDA/HIP caching allocator, modelled: from requests to every counter torch keeps."""

from oom_suite.allocator.history import Difference, Followed, follow, read_steps
from oom_suite.allocator.model import CachingAllocator
from oom_suite.allocator.reclaim import AllocatorOutOfMemoryError, Refusal
from oom_suite.allocator.recording import Call, Compared, Mismatch, Recording, compare
from oom_suite.allocator.replay import Replayed, peaks_of, replay
from oom_suite.allocator.rounding import MIN_BLOCK_BYTES, round_request, taken_alone
from oom_suite.allocator.settings import AllocatorSettings, parse_settings
from oom_suite.allocator.state import Step
from oom_suite.allocator.statistics import Fragmentation, Stat, Statistics, fragmentation

__all__ = [
    "MIN_BLOCK_BYTES",
    "AllocatorOutOfMemoryError",
    "AllocatorSettings",
    "CachingAllocator",
    "Call",
    "Compared",
    "Difference",
    "Followed",
    "Fragmentation",
    "Mismatch",
    "Recording",
    "Refusal",
    "Replayed",
    "Stat",
    "Statistics",
    "Step",
    "compare",
    "follow",
    "fragmentation",
    "parse_settings",
    "peaks_of",
    "read_steps",
    "replay",
    "round_request",
    "taken_alone",
]
