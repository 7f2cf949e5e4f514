"""A ceiling for torch's own allocator on a GPU, to the byte."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import torch

from oom_suite.errors import LaneError
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def limited(device: torch.device, free_bytes: int) -> Iterator[None]:
    """Inside, the allocator may reserve `free_bytes` more than it has reserved.

    What it does not count is not limited: library workspaces taken from the driver, other
    processes.

    Raises:
        LaneError: so much is not free.

    Source: torch 2.11 `c10/cuda/CUDACachingAllocator.cpp`, ``setMemoryFraction`` and
    ``alloc_block``.
    """
    torch.cuda.empty_cache()
    left_bytes, total_bytes = torch.cuda.mem_get_info(device)
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
