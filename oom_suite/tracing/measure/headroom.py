"""A limit on what a process may take of a device or of the system's memory."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from oom_suite.errors import LaneError, unknown
from oom_suite.targets import process_memory
from oom_suite.targets.free_memory import driver_free
from oom_suite.tracing.measure import ballast
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def limited(device: torch.device, free_bytes: int) -> Iterator[None]:
    """Inside, the allocator may reserve `free_bytes` more than it has reserved.

    What it does not count is not limited: library workspaces taken from the driver, other
    processes.

    Raises:
        LaneError: so much is not free, or the driver does not say.

    Source: torch 2.11 `c10/cuda/CUDACachingAllocator.cpp`, ``setMemoryFraction`` and
    ``alloc_block``.
    """
    torch.cuda.empty_cache()
    left_bytes, total_bytes = driver_free(device)
    if left_bytes < free_bytes:
        msg = (
            f"a headroom of {format_bytes(free_bytes)} was asked for, and {device} has "
            f"{format_bytes(left_bytes)} free: ask for less, or free some first"
        )
        raise LaneError(msg)
    before = _fraction_now(device)
    reserved_bytes = torch.cuda.memory_reserved(device)
    set_fraction = torch.cuda.set_per_process_memory_fraction
    set_fraction(fraction_of(reserved_bytes + free_bytes, total_bytes), device)
    try:
        yield
    finally:
        set_fraction(before, device)


def _fraction_now(device: torch.device) -> float:
    # Torch answers 1.0 where none was set; releases before 2.8 cannot be asked.
    ask = getattr(torch.cuda, "get_per_process_memory_fraction", None)
    return 1.0 if ask is None else float(ask(device))


def fraction_of(limit_bytes: int, total_bytes: int) -> float:
    """The smallest fraction that the allocator turns into that limit: it multiplies and truncates.

    Args:
        limit_bytes: the limit wanted, at most `total_bytes`.
        total_bytes: the device's total.
    """
    fraction = limit_bytes / total_bytes
    while int(fraction * total_bytes) < limit_bytes:
        fraction = math.nextafter(fraction, 2.0)
    return min(fraction, 1.0)


_STATM_BYTES = 128
"""More than seven numbers of pages take."""

WAYS = ("ballast", "limit")
"""How free memory is made scarce on a GPU. A CPU has a limit only."""


@dataclass(frozen=True, slots=True)
class Headroom:
    """What a call has free.

    Attributes:
        free_bytes: bytes left free when it begins; None for all there is.
        by: ``"ballast"``, ``"limit"``, or ``""`` where nothing was done.
    """

    free_bytes: int | None
    by: str


@contextlib.contextmanager
def headroom(device: torch.device, free_bytes: int | None, by: str) -> Iterator[Headroom]:
    """Inside, `free_bytes` are free on the device; afterwards it is as it was, whatever happened.

    Args:
        device: ``cpu`` or ``cuda`` (HIP devices too).
        free_bytes: what the call may take; None to change nothing.
        by: on a GPU ``"ballast"`` takes the rest straight from the driver, so that the call
            meets a full device, and ``"limit"`` tells torch's allocator to stop there. On a CPU
            either is a soft limit of the address space.

    Yields:
        what is free. With ballast it is at least `free_bytes` and less than one granule of the
        driver (2 MiB) more.

    Raises:
        UsageError: `by` is neither.
        LaneError: so much is not free, or it cannot be arranged here.

    **Does not prove:** that the call used no more. Memory that the allocator has cached inside
    segments of the inputs is the call's too. On a CPU address space is not resident memory, and
    what Python and the C library take for themselves meanwhile (132 KiB and more) is missing.
    """
    if by not in WAYS:
        raise unknown("way to leave a headroom", by, WAYS)
    if free_bytes is None:
        yield Headroom(None, "")
    elif device.type == "cpu":
        with _address_space(free_bytes):
            yield Headroom(free_bytes, "limit")
    elif by == "ballast":
        with ballast.held(device, free_bytes) as left_bytes:
            yield Headroom(left_bytes, by)
    else:
        with limited(device, free_bytes):
            yield Headroom(free_bytes, by)


@contextlib.contextmanager
def _address_space(free_bytes: int) -> Iterator[None]:
    """Only the soft limit is moved: the hard one could never be raised again."""
    if not sys.platform.startswith("linux"):
        msg = f"a headroom on the CPU needs an address-space limit, which {sys.platform} lacks"
        raise LaneError(msg)
    # Freed memory that the C library still holds would be headroom on top.
    process_memory.give_back()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    taken_bytes = address_space_bytes()
    ceiling = taken_bytes + free_bytes
    lowest = min((limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY), default=None)
    if lowest is not None and ceiling > lowest:
        left = format_bytes(max(0, lowest - taken_bytes))
        msg = (
            f"a headroom of {format_bytes(free_bytes)} is more than this process may still add "
            f"({left}, by its address-space limit): raise `ulimit -v` or --memory-limit"
        )
        raise LaneError(msg)
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def address_space_bytes() -> int:
    """Bytes of address space this process has now.

    Source: Linux ``Documentation/filesystems/proc.rst``, ``statm``: the first field, in pages.
    """
    # Not by a file object: its buffers can be the page more that is gone a moment later.
    descriptor = os.open("/proc/self/statm", os.O_RDONLY)
    try:
        num_pages = int(os.read(descriptor, _STATM_BYTES).split()[0])
    finally:
        os.close(descriptor)
    return num_pages * resource.getpagesize()
