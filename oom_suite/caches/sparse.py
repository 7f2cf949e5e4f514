"""Memory of any size whose untouched pages cost nothing."""

from __future__ import annotations

import mmap

import torch

from oom_suite.errors import LaneError
from oom_suite.units import format_bytes

_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
"""Source: Linux ``include/uapi/asm-generic/mman-common.h``; Python names it from 3.13 on."""


def sparse_memory(num_bytes: int, device: torch.device) -> torch.Tensor:
    """Memory of which, on a CPU, only the pages that are written become resident.

    On a GPU it is memory like any other.

    Args:
        num_bytes: how much; far more than the machine has may be asked for on a CPU.
        device: where it lies.

    Returns:
        uint8 [num_bytes]; zeros on a CPU.

    Raises:
        LaneError: the system gives no such address space, or the GPU has not that much.
    """
    try:
        if device.type != "cpu":
            return torch.empty(num_bytes, dtype=torch.uint8, device=device)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
        return torch.frombuffer(mmap.mmap(-1, num_bytes, flags=flags), dtype=torch.uint8)
    except (OSError, ValueError, torch.OutOfMemoryError) as error:
        first_line = str(error).splitlines()[0]
        msg = f"no {format_bytes(num_bytes)} to place a pool in: {first_line}"
        raise LaneError(msg) from error
