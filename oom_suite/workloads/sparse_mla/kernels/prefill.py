"""The keys of a sparse prefill's chunk as rows of bf16: only those that its queries name.

What is made is the rows of the distinct entries that the chunk's top-k names and of the tokens
that its sliding windows reach, and indices into them. The law, in bytes::

    1024 * (max_union + num_requests * max_gather_len)     the rows
    + 4 * max_union                                         their slots
    + 4 * num_queries * (width + 1)                         indices and lens

A prefix has no term of its own. Which entries are named is kept in a bit each, with the number of
bits before each 32: a 4,096th part of the prefix's rows. That lies in the memory of the rows,
which are written last. (A chunk with fewer rows than that takes as much as it, not more beside.)

Source: the follow-up that vLLM #42504 names; what it replaces is the staging of whole prefixes in
vLLM 0.33.0 `models/deepseek_v4/nvidia/flashmla.py:310-375`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.kernels import prefill_reference as reference
from oom_suite.workloads.sparse_mla.kernels.chunk import Chunk, Rows
from oom_suite.workloads.sparse_mla.kernels.dispatch import takes_triton
from oom_suite.workloads.sparse_mla.kernels.gather import (
    dequantize_and_gather_k_cache,
    dequantize_and_gather_k_cache_sparse,
)

if TYPE_CHECKING:
    from oom_suite.workloads.sparse_mla.kernels.chunk import Attend

_HEAD_DIM = FP8_DS_MLA_V4.head_dim
_ROW_WORDS = _HEAD_DIM // 2
"""32-bit words of a row."""
_COLUMNS, _REQUESTS = 256, 32
_WORDS, _BEFORE = 128, 4096


def union_staging(
    k_cache: torch.Tensor,
    swa_k_cache: torch.Tensor,
    topk_indices: torch.Tensor,
    query_start_loc: torch.Tensor,
    compressed_lens: torch.Tensor,
    seq_lens: torch.Tensor,
    gather_lens: torch.Tensor,
    block_table: torch.Tensor,
    swa_block_table: torch.Tensor,
    window_size: int,
    compress_ratio: int,
    max_compressed_len: int,
    max_gather_len: int,
    max_union: int,
    attend: Attend,
    output: torch.Tensor,
    num_union: torch.Tensor | None = None,
    fp8_dtype: torch.dtype = torch.float8_e4m3fn,
    swa_fp8_dtype: torch.dtype = torch.float8_e4m3fn,
) -> None:
    """Call ``attend(kv, indices, lens, output)`` with the rows that a chunk's queries name.

    ``kv`` is bfloat16 [num_rows, 512]; ``indices`` int32 [num_queries, width], rows of it, first
    of a query's entries in their order, then of its window, and -1 behind them and for an entry
    that is padding or that the cache does not have; ``lens`` int32 [num_queries], how many of a
    row count. Rows that no index names are unwritten.

    Up to ``max_gather_len`` the arguments are those of `Chunk`. ``max_union`` is how many rows
    there are for distinct entries: a chunk never names more than, of each request, the lesser of
    its queries times topk and its entries. What has no row gets -1, as padding, and ``num_union``,
    int32 [1], is written where it is given: how many distinct entries there are. ``fp8_dtype``
    says which fp8 ``k_cache`` holds, and ``swa_fp8_dtype`` which ``swa_k_cache`` does.

    Raises:
        UsageError: an argument of another dtype or shape, or a GPU without Triton.
    """
    chunk = Chunk(
        k_cache, swa_k_cache, topk_indices, query_start_loc, compressed_lens, seq_lens,
        gather_lens, block_table, swa_block_table, window_size, compress_ratio,
        max_compressed_len, max_gather_len,
    )  # fmt: skip
    where = Rows(of_request=max_gather_len, first_swa=max_union)
    made = _in_triton if takes_triton(k_cache) else _in_torch
    kv, slots, indices, lens = made(chunk, max_union, where, num_union)
    block_size, swa_block_size = k_cache.shape[1], swa_k_cache.shape[1]
    dequantize_and_gather_k_cache_sparse(kv[:max_union], k_cache, slots, block_size, fp8_dtype)
    window = kv[max_union:].view(chunk.num_requests, max_gather_len, _HEAD_DIM)
    dequantize_and_gather_k_cache(
        window, swa_k_cache, seq_lens, gather_lens, swa_block_table, swa_block_size, 0,
        swa_fp8_dtype,
    )  # fmt: skip
    attend(kv, indices, lens, output)


def combined(chunk: Chunk, where: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """The indices and lens of a chunk where every entry of a request has its row.

    Args:
        chunk: the chunk.
        where: the rows; a request's first entry has its first one.
    """
    indices, lens = chunk.indices()
    if takes_triton(chunk.k_cache):
        _combine(chunk, where, indices, lens)
    else:
        reference.combine(chunk, reference.own_rows(chunk, where), where, indices, lens)
    return indices, lens


def _in_torch(
    chunk: Chunk, max_union: int, where: Rows, num_union: torch.Tensor | None
) -> tuple[torch.Tensor, ...]:
    """Unwritten rows, the slots of the first of them, and the indices and lens."""
    rows, slots, found = reference.union(chunk, max_union)
    if num_union is not None:
        num_union.copy_(found)
    indices, lens = chunk.indices()
    reference.combine(chunk, rows, where, indices, lens)
    del rows
    num_rows = max_union + chunk.num_requests * chunk.max_gather_len
    kv = chunk.k_cache.new_empty((num_rows, _HEAD_DIM), dtype=torch.bfloat16)
    return kv, slots, indices, lens


def _in_triton(
    chunk: Chunk, max_union: int, where: Rows, num_union: torch.Tensor | None
) -> tuple[torch.Tensor, ...]:
    """The same by Triton's kernels."""
    from oom_suite.workloads.sparse_mla.kernels.on_triton import prefill as kernels

    num_rows = max_union + chunk.num_requests * chunk.max_gather_len
    row_words = num_rows * _ROW_WORDS
    num_words = chunk.max_compressed_len // 32 + 1
    num_all_words = chunk.num_requests * num_words
    new = chunk.topk_indices.new_empty
    # The flags lie where the rows will be: both are not needed at once.
    memory = new((max(row_words, 2 * num_all_words + 1),))
    kv = memory[:row_words].view(torch.bfloat16).view(num_rows, _HEAD_DIM)
    slots = new((max_union,))
    indices, lens = chunk.indices()
    if chunk.num_queries == 0:
        slots.fill_(-1)
        if num_union is not None:
            num_union.zero_()
        return kv, slots, indices, lens
    table, block_size = chunk.block_table, chunk.k_cache.shape[1]
    kernels.clear_kernel[(-(-num_all_words // _BEFORE),)](memory, num_all_words, WORDS=_BEFORE)
    kernels.mark_kernel[(chunk.num_queries,)](
        memory, chunk.topk_indices, chunk.query_start_loc.contiguous(),
        chunk.seq_lens.contiguous(), chunk.compressed_lens.contiguous(), table,
        chunk.num_requests, num_words, chunk.topk_indices.shape[1], chunk.max_compressed_len,
        *chunk.topk_indices.stride(), *table.stride(), table.shape[1], chunk.k_cache.shape[0],
        BLOCK_SIZE=block_size, RATIO=chunk.compress_ratio, COLUMNS=_COLUMNS, REQUESTS=_REQUESTS,
    )  # fmt: skip
    kernels.rank_kernel[(-(-num_all_words // _WORDS),)](
        memory, memory if num_union is None else num_union, slots, table, num_all_words,
        num_words, max_union, *table.stride(), BLOCK_SIZE=block_size, WORDS=_WORDS,
        BEFORE=_BEFORE, HAS_NUM_UNION=num_union is not None, num_warps=8,
    )  # fmt: skip
    _combine(chunk, where, indices, lens, (memory, slots, num_words))
    return kv, slots, indices, lens


def _combine(
    chunk: Chunk,
    where: Rows,
    indices: torch.Tensor,
    lens: torch.Tensor,
    union: tuple[torch.Tensor, torch.Tensor, int] | None = None,
) -> None:
    """Write the indices and lens; of a union from its flags and ranks, and end its slots."""
    from oom_suite.workloads.sparse_mla.kernels.on_triton.prefill import combine_kernel

    if chunk.num_queries == 0:
        return
    topk, table, swa_table = chunk.topk_indices, chunk.block_table, chunk.swa_block_table
    flags, slots, num_words = union or (indices, indices, 0)
    combine_kernel[(chunk.num_queries,)](
        indices, lens, flags, slots, topk, chunk.query_start_loc.contiguous(),
        chunk.seq_lens.contiguous(), chunk.compressed_lens.contiguous(),
        chunk.gather_lens.contiguous(), table, swa_table, chunk.num_queries, chunk.num_requests,
        num_words, slots.shape[0], topk.shape[1], chunk.width, chunk.max_compressed_len,
        chunk.max_gather_len, *where, *topk.stride(), *table.stride(), table.shape[1],
        chunk.k_cache.shape[0], *swa_table.stride(), swa_table.shape[1],
        chunk.swa_k_cache.shape[0], BLOCK_SIZE=chunk.k_cache.shape[1],
        SWA_BLOCK_SIZE=chunk.swa_k_cache.shape[1], WINDOW=chunk.window_size,
        RATIO=chunk.compress_ratio, COLUMNS=_COLUMNS, REQUESTS=_REQUESTS,
        IS_UNION=union is not None,
    )  # fmt: skip
