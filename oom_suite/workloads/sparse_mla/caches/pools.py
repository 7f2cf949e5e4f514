"""Paged pools of any layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from oom_suite.errors import UsageError
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
