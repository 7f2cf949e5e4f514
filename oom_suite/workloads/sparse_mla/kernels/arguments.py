"""What the kernels are given, up to what they are compiled for: the same, whoever wrote them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from oom_suite.workloads.sparse_mla.builtins.rows import PoolRead

_LOG2_E = math.log2(math.e)


def of_slots(
    out: torch.Tensor, k_cache: torch.Tensor, slot_indices: torch.Tensor
) -> tuple[Any, ...]:
    """For `gather_sparse_kernel`; arguments as of `dequantize_and_gather_k_cache_sparse`."""
    return (
        out,
        k_cache,
        slot_indices,
        slot_indices.stride(0),
        slot_indices.shape[0],
        k_cache.shape[0] * k_cache.shape[1],
        out.stride(0),
        k_cache.stride(0),
    )


def of_prefixes(
    out: torch.Tensor,
    k_cache: torch.Tensor,
    seq_lens: torch.Tensor,
    gather_lens: torch.Tensor | None,
    block_table: torch.Tensor,
    offset: int,
) -> tuple[Any, ...]:
    """For `gather_dense_kernel`; arguments as of `dequantize_and_gather_k_cache`."""
    seq_lens = seq_lens.contiguous()
    return (
        out,
        k_cache,
        seq_lens,
        seq_lens if gather_lens is None else gather_lens.contiguous(),
        block_table,
        out.stride(0),
        out.stride(1),
        *block_table.stride(),
        block_table.shape[1],
        k_cache.stride(0),
        k_cache.shape[0] * k_cache.shape[1],
        offset,
        out.shape[1] - offset,
    )


def of_step(
    output: torch.Tensor,
    q: torch.Tensor,
    reads: Sequence[PoolRead],
    attn_sink: torch.Tensor | None,
    scale: float,
) -> tuple[Any, ...]:
    """For a decode kernel.

    Args:
        output: as q, written.
        q: bfloat16 [num_tokens, num_heads, 512].
        reads: of the sliding window's pool, and of the compressed one unless there is none.
        attn_sink: float32 [num_heads], or None.
        scale: factor of the logits.
    """
    return (
        output,
        q,
        *_of_read(reads[0]),
        *_of_read(reads[-1]),
        q if attn_sink is None else attn_sink,
        q.shape[1],
        scale * _LOG2_E,
        q.stride(0),
        output.stride(0),
    )


def _of_read(read: PoolRead) -> tuple[Any, ...]:
    """How a kernel is given a pool and what is read of it.

    Returns:
        The pool, its indices, its lens, the stride of a row of indices and its width, the bytes of
        a page, and how many slots there are: what is beyond either is not read.
    """
    indices, pool = read.indices, read.pool
    if indices.stride(1) != 1:
        indices = indices.contiguous()
    num_slots = pool.shape[0] * pool.shape[1]
    return pool, indices, read.lens, indices.stride(0), indices.shape[1], pool.stride(0), num_slots
