"""The rows and indices of a prefill chunk in torch, where there is no GPU.

Nothing waits for the device and nothing follows the prefix: the union is found by a sort of what
the queries name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from oom_suite.workloads.sparse_mla.kernels.chunk import Chunk, Rows


class _Queries(NamedTuple):
    """Where the queries of a chunk stand, each int64 [num_queries].

    Attributes:
        request: whose.
        position: of its token in the request.
        visible: compressed entries that it names.
    """

    request: torch.Tensor
    position: torch.Tensor
    visible: torch.Tensor


def union(chunk: Chunk, max_union: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The distinct entries of a chunk in order of request and entry.

    Returns:
        the row of each entry that a query names, int32 [num_queries, topk], -1 where it has none;
        the slot of each row, int32 [max_union], -1 where no entry took it; and how many distinct
        entries there are, int32 [1], also where they are more than the rows.
    """
    queries = _queries(chunk)
    counts, slots = _named_slots(chunk, queries)
    past = chunk.num_requests * chunk.max_compressed_len
    keys = queries.request.unsqueeze(1) * chunk.max_compressed_len + chunk.topk_indices
    ordered, order = keys.masked_fill_(counts.logical_not(), past).flatten().sort()
    is_first = ordered < past
    num_union = torch.zeros(1, dtype=torch.int32, device=ordered.device)
    rows = torch.full_like(chunk.topk_indices, -1, memory_format=torch.contiguous_format)
    if not ordered.numel():
        return rows, rows.new_full((max_union,), -1), num_union
    row = torch.empty_like(ordered)
    new = is_first[1:] & (ordered[1:] != ordered[:-1])
    torch.cumsum(torch.cat([is_first[:1], new]), 0, out=row)
    num_union.copy_(row[-1:])
    row.sub_(1).masked_fill_(is_first.logical_not() | (row >= max_union), -1)
    rows.view(-1)[order] = row.to(torch.int32)
    # What has no row goes behind the last one.
    target = rows.flatten().to(torch.int64).remainder_(max_union + 1)
    found = rows.new_full((max_union + 1,), -1).scatter_(0, target, slots.flatten())
    return rows, found[:max_union], num_union


def combine(
    chunk: Chunk, rows: torch.Tensor, where: Rows, indices: torch.Tensor, lens: torch.Tensor
) -> None:
    """Write the rows that queries attend to.

    Args:
        chunk: the chunk.
        rows: int32 [num_queries, topk], those of the entries; -1 where there is none.
        where: those of the sliding windows.
        indices: int32 [num_queries, width], written.
        lens: int32 [num_queries], written.
    """
    queries = _queries(chunk)
    position = queries.position
    gathered_from = (chunk.seq_lens - chunk.gather_lens)[queries.request]
    window_from = torch.maximum(position - (chunk.window_size - 1), gathered_from).clamp_(min=0)
    window_len = (position + 1 - window_from).clamp_(0, chunk.window_size)
    column = torch.arange(indices.shape[1], device=indices.device)
    behind = column - queries.visible.unsqueeze(1)
    token = window_from.unsqueeze(1) + behind
    offset = token - gathered_from.unsqueeze(1)
    counts = (behind >= 0).logical_and_(behind < window_len.unsqueeze(1))
    counts.logical_and_(offset >= 0).logical_and_(offset < chunk.max_gather_len)
    counts = _is_stored(chunk.swa_block_table, chunk.swa_k_cache, queries.request, token, counts)[0]
    first_row = queries.request * where.of_request + where.first_swa
    indices.copy_(offset.add_(first_row.unsqueeze(1)).masked_fill_(counts.logical_not(), -1))
    is_entry = column[: rows.shape[1]] < queries.visible.unsqueeze(1)
    entries = indices[:, : rows.shape[1]]
    entries.copy_(torch.where(is_entry, rows, entries))
    lens.copy_(queries.visible + window_len)


def own_rows(chunk: Chunk, where: Rows) -> torch.Tensor:
    """The row of each entry that a query names where all of a request's entries have one.

    Returns:
        int32 [num_queries, topk], -1 where it has none.
    """
    queries = _queries(chunk)
    counts, _ = _named_slots(chunk, queries)
    first_row = (queries.request * where.of_request).unsqueeze(1)
    rows = (chunk.topk_indices + first_row).masked_fill_(counts.logical_not(), -1)
    return rows.to(torch.int32)


def _queries(chunk: Chunk) -> _Queries:
    number = torch.arange(chunk.num_queries, device=chunk.topk_indices.device)
    ends = (chunk.query_start_loc[1:] - chunk.query_start_loc[0]).to(torch.int64)
    request = torch.searchsorted(ends, number, right=True).clamp_(max=chunk.num_requests - 1)
    position = chunk.seq_lens[request] - (ends[request] - number)
    visible = (position + 1).clamp_(min=0) // chunk.compress_ratio
    return _Queries(request, position, visible.clamp_(max=chunk.topk_indices.shape[1]))


def _named_slots(chunk: Chunk, queries: _Queries) -> tuple[torch.Tensor, torch.Tensor]:
    """Which entries a query names that are stored, and their slots: bool, int32 [queries, topk]."""
    entries = chunk.topk_indices
    column = torch.arange(entries.shape[1], device=entries.device)
    lens = chunk.compressed_lens[queries.request].clamp(max=chunk.max_compressed_len)
    counts = (column < queries.visible.unsqueeze(1)).logical_and_(entries >= 0)
    counts.logical_and_(entries < lens.unsqueeze(1))
    return _is_stored(chunk.block_table, chunk.k_cache, queries.request, entries, counts)


def _is_stored(
    table: torch.Tensor,
    pool: torch.Tensor,
    request: torch.Tensor,
    entries: torch.Tensor,
    counts: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of the entries of requests have a block in the pool, and the slots of these."""
    num_blocks, block_size, _ = pool.shape
    counts = counts & (entries < table.shape[1] * block_size)
    entries = entries * counts
    if not table.shape[1]:
        return counts, entries.to(torch.int32)
    block = table[request.unsqueeze(1), entries // block_size]
    counts.logical_and_(block >= 0).logical_and_(block < num_blocks)
    slots = block.mul_(block_size).add_(entries % block_size)
    return counts, slots.to(torch.int32)
