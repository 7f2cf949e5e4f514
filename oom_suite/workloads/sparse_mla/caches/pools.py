"""Paged pools of any layout, and large ones that take memory only where they are written."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import torch

from oom_suite.errors import LaneError, UsageError
from oom_suite.units import format_bytes
from oom_suite.workloads.sparse_mla.caches.quantization import quantize

if TYPE_CHECKING:
    from oom_suite.workloads.sparse_mla.geometry.layouts import Layout


def paged_pool(
    num_blocks: int,
    block_size: int,
    layout: Layout,
    device: torch.device | str,
    *,
    padded: bool = False,
) -> torch.Tensor:
    """A pool of uninitialised blocks; on the CPU its pages stay untouched until written.

    Args:
        num_blocks: physical blocks.
        block_size: tokens of one block.
        layout: how a block's bytes are arranged.
        device: where it lies.
        padded: whether each block starts at a multiple of the layout's alignment, as vLLM
            lays its pages out. The tensor is then strided in its first dimension.

    Returns:
        uint8 [num_blocks, block_size, token_bytes]; stride (padded_block_bytes, token_bytes, 1)
        when padded, otherwise contiguous.

    Raises:
        UsageError: the block holds no token.
    """
    shape = (num_blocks, block_size, layout.token_bytes)
    if not padded:
        layout.block_bytes(block_size)
        return torch.empty(shape, dtype=torch.uint8, device=device)
    stride_bytes = layout.padded_block_bytes(block_size)
    memory = torch.empty(num_blocks * stride_bytes, dtype=torch.uint8, device=device)
    return memory.as_strided(shape, (stride_bytes, layout.token_bytes, 1))


def block_view(pool: torch.Tensor) -> torch.Tensor:
    """The same memory as one row a block, without copying.

    Args:
        pool: uint8 [num_blocks, block_size, token_bytes], strided in its first dimension at most.

    Returns:
        uint8 [num_blocks, block_size * token_bytes], strided like the pool.
    """
    num_blocks, block_size, token_bytes = pool.shape
    return pool.as_strided((num_blocks, block_size * token_bytes), (pool.stride(0), 1))


def write_blocks(
    pool: torch.Tensor,
    block_ids: torch.Tensor,
    keys: torch.Tensor,
    layout: Layout,
    fp8_dtype: torch.dtype = torch.float8_e4m3fn,
) -> None:
    """Quantize the keys into these blocks of the pool; no other block is touched.

    Args:
        pool: uint8 [num_blocks, block_size, token_bytes], as `paged_pool` gives it.
        block_ids: integer [num_written], the distinct blocks to write, on the pool's device.
        keys: float [num_written, block_size, head_dim], on the pool's device.
        layout: how a block's bytes are arranged.
        fp8_dtype: the fp8 to write nope values in.

    Raises:
        UsageError: the keys do not fit the pool, the ids or the layout.
    """
    expected = [block_ids.numel(), pool.shape[1], layout.head_dim]
    if list(keys.shape) != expected:
        msg = f"keys have shape {list(keys.shape)}: these blocks take {expected}"
        raise UsageError(msg)
    block_view(pool)[block_ids.long()] = quantize(keys, layout, fp8_dtype)


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
