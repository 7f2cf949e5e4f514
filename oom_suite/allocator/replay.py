"""A trace fed to the modelled allocator: peaks, fragmentation, and where it would fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.allocator.model import CachingAllocator
from oom_suite.allocator.reclaim import AllocatorOutOfMemoryError, Refusal
from oom_suite.allocator.statistics import Fragmentation, fragmentation
from oom_suite.records import AllocatorPeaks

if TYPE_CHECKING:
    from oom_suite.allocator.settings import AllocatorSettings
    from oom_suite.records import Trace


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the allocator says of one call.

    Attributes:
        peaks: the four figures at their largest; up to the failure when one request fails.
        at_peak: fragmentation just after the event at which `reserved` was largest first.
        at_end: fragmentation after the last event.
        failed_allocation: index into `Trace.allocations` of the request that fails under
            the limit; None when every one is served.
        refusal: what there was when it failed; None when nothing failed.
    """

    peaks: AllocatorPeaks
    at_peak: Fragmentation
    at_end: Fragmentation
    failed_allocation: int | None = None
    refusal: Refusal | None = None


def peaks_of(trace: Trace, settings: AllocatorSettings | None = None) -> AllocatorPeaks:
    """The allocator's four peaks over a call that starts in an empty pool of its own.

    Args:
        trace: the call's allocate and free events, of any lane.
        settings: the allocator's configuration; None for PyTorch's defaults.
    """
    allocator = CachingAllocator(settings)
    addresses: dict[int, int] = {}
    for event in trace.events:
        if event.kind == "free":
            allocator.free(addresses.pop(event.allocation))
        else:
            requested_bytes = trace.allocations[event.allocation].requested_bytes
            addresses[event.allocation] = allocator.malloc(requested_bytes)
    return _peaks(allocator)


def replay(
    trace: Trace,
    settings: AllocatorSettings | None = None,
    *,
    limit_bytes: int | None = None,
    free_bytes: int | None = None,
) -> Replayed:
    """What the allocator says of a call that starts with nothing cached.

    Args:
        trace: the call's allocate and free events, of any lane.
        settings: the allocator's configuration; None for PyTorch's defaults.
        limit_bytes: what the process allows itself beyond what it holds already.
        free_bytes: what the device has free.
    """
    allocator = CachingAllocator(settings, limit_bytes=limit_bytes, free_bytes=free_bytes)
    addresses: dict[int, int] = {}
    peak_reserved_bytes, at_peak = 0, fragmentation(allocator)
    failed: int | None = None
    refusal: Refusal | None = None
    for event in trace.events:
        if event.kind == "free":
            allocator.free(addresses.pop(event.allocation))
            continue
        requested_bytes = trace.allocations[event.allocation].requested_bytes
        try:
            addresses[event.allocation] = allocator.malloc(requested_bytes)
        except AllocatorOutOfMemoryError as error:
            failed, refusal = event.allocation, error.refusal
            break
        reserved_bytes = allocator.statistics.all.reserved_bytes.current
        if reserved_bytes > peak_reserved_bytes:
            peak_reserved_bytes, at_peak = reserved_bytes, fragmentation(allocator)
    return Replayed(_peaks(allocator), at_peak, fragmentation(allocator), failed, refusal)


def _peaks(allocator: CachingAllocator) -> AllocatorPeaks:
    counters = allocator.statistics.all
    return AllocatorPeaks(
        requested_bytes=counters.requested_bytes.peak,
        allocated_bytes=counters.allocated_bytes.peak,
        active_bytes=counters.active_bytes.peak,
        reserved_bytes=counters.reserved_bytes.peak,
    )
