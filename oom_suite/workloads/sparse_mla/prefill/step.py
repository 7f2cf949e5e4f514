"""The inputs of a prefill's chunk at any size, small ones with contents, and what it must give."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.workloads.sparse_mla.caches import dequantize, paged_pool
from oom_suite.workloads.sparse_mla.caches.pools import block_view
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.prefill.workload import RATIO
from oom_suite.workloads.sparse_mla.step import HEAD_DIM, poisoned_pool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def build(sizes: Mapping[str, int], device: torch.device | str) -> dict[str, Any]:
    """The keywords of a chunk at these sizes; the caches are uninitialised memory.

    Every request has as many tokens and queries, and its queries name ``union_rows`` distinct
    entries, spread evenly over its prefix. Works on fake tensors and on sizes that are symbols.

    Args:
        sizes: of the workload's axes, and ``block_size``.
        device: where everything lies.

    Returns:
        As `oom_suite.workloads.sparse_mla.kernels.prefill.union_staging` takes them; ``attend``
        writes zeros, and ``output`` is bfloat16 [num_queries, 512].
    """
    num_requests, num_queries, topk = sizes["num_requests"], sizes["num_queries"], sizes["topk"]
    seq_len = sizes["prefix_len"] + num_queries
    num_entries, gather_len = seq_len // RATIO, num_queries + sizes["window"] - 1
    total, union_rows = num_requests * num_queries, sizes["union_rows"]

    def lens(length: int) -> torch.Tensor:
        return torch.full((num_requests,), length, dtype=torch.int32, device=device)

    def table(length: int) -> torch.Tensor:
        width = -(-length // sizes["block_size"])
        blocks = torch.arange(num_requests * width, device=device) % sizes["num_blocks"]
        return blocks.to(torch.int32).view(num_requests, width)

    def pool() -> torch.Tensor:
        return paged_pool(sizes["num_blocks"], sizes["block_size"], FP8_DS_MLA_V4, device)

    named = torch.arange(num_queries * topk, device=device) % union_rows
    named = (named * num_entries // union_rows).to(torch.int32).view(num_queries, topk)
    starts = torch.arange(num_requests + 1, dtype=torch.int32, device=device)
    return {
        "k_cache": pool(),
        "swa_k_cache": pool(),
        "topk_indices": named.repeat(num_requests, 1),
        "query_start_loc": starts * num_queries,
        "compressed_lens": lens(num_entries),
        "seq_lens": lens(seq_len),
        "gather_lens": lens(gather_len),
        "block_table": table(num_entries),
        "swa_block_table": table(seq_len),
        "window_size": sizes["window"],
        "compress_ratio": RATIO,
        "max_compressed_len": num_entries,
        "max_gather_len": gather_len,
        "max_union": num_requests * union_rows,
        "attend": attend_to_nothing,
        "output": torch.empty(total, HEAD_DIM, dtype=torch.bfloat16, device=device),
    }


def attend_to_nothing(
    kv: torch.Tensor, indices: torch.Tensor, lens: torch.Tensor, output: torch.Tensor
) -> None:
    """Write zeros: what an attention takes is not the chunk's."""
    del kv, indices, lens
    output.zero_()


def fetch(
    kv: torch.Tensor, indices: torch.Tensor, lens: torch.Tensor, output: torch.Tensor
) -> None:
    """Write the rows that an attention would read first, zeros where none counts.

    Args:
        kv: bfloat16 [num_rows, 512].
        indices: int32 [num_queries, width], rows of `kv`.
        lens: int32 [num_queries], how many of a row of indices count.
        output: bfloat16 [num_queries, num_columns, 512], written; no more columns than `indices`.
    """
    indices = indices[:, : output.shape[1]]
    column = torch.arange(indices.shape[1], device=indices.device)
    counts = (column < lens.unsqueeze(1)).logical_and_(indices >= 0)
    rows = kv[(indices * counts).to(torch.int64)]
    output.copy_(torch.where(counts.unsqueeze(-1), rows, 0.0))


@dataclass(frozen=True, slots=True)
class ChunkOptions:
    """What a small chunk is like.

    Attributes:
        seq_lens: tokens of each request, its queries' own included.
        query_lens: queries of each.
        topk: entries that a query names at most.
        named: the entries that queries name, in turn from the first query's first on; -1 is
            padding. Where a query has fewer entries before it than topk, its row's end is not
            looked at.
        spare_rows: rows of `max_union` beyond the distinct entries; negative for too few.
        window: tokens of a sliding window.
        num_blocks: blocks of each cache.
        block_size: entries or tokens of a block.
        padded: whether pages are padded as vLLM lays them out.
        first_start: the first of `query_start_loc`.
        seed: of the caches' contents and of the blocks that a request has.
    """

    seq_lens: tuple[int, ...] = (61, 44)
    query_lens: tuple[int, ...] = (5, 3)
    topk: int = 6
    named: tuple[int, ...] = (3, 0, 9, 1, 14, 7, 3, 10, 2)
    spare_rows: int = 2
    window: int = 7
    num_blocks: int = 32
    block_size: int = 4
    padded: bool = False
    first_start: int = 0
    seed: int = 0


def small(options: ChunkOptions, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The keywords of `build` with random keys in the blocks that requests have.

    Every other byte of the caches is poison; ``attend`` is `fetch`.
    """
    generator = torch.Generator(device="cpu").manual_seed(options.seed)
    pairs = list(zip(options.seq_lens, options.query_lens, strict=True))
    compressed = [length // RATIO for length in options.seq_lens]
    gathered = [queries + min(length - queries, options.window - 1) for length, queries in pairs]
    starts = [options.first_start]
    for queries in options.query_lens:
        starts.append(starts[-1] + queries)
    total = sum(options.query_lens)

    def ints(values: Sequence[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.int32, device=device)

    def cache(lens: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max((-(-length // options.block_size) for length in lens), default=0)
        order = torch.randperm(options.num_blocks, generator=generator).to(device)
        named = order[: width * len(lens)]
        shape = (options.num_blocks, options.block_size)
        args = (named, torch.float8_e4m3fn, generator, options.padded)
        return poisoned_pool(shape, *args), named.view(len(lens), width).to(torch.int32)

    k_cache, table = cache(compressed)
    swa_k_cache, swa_table = cache(options.seq_lens)
    times = -(-total * options.topk // len(options.named))
    named = ints((options.named * times)[: total * options.topk]).view(total, options.topk)
    # A column more than can count: a len that is one too large is seen.
    shape = (total, options.topk + options.window + 1, HEAD_DIM)
    step = {
        "k_cache": k_cache,
        "swa_k_cache": swa_k_cache,
        "topk_indices": named,
        "query_start_loc": ints(starts),
        "compressed_lens": ints(compressed),
        "seq_lens": ints(options.seq_lens),
        "gather_lens": ints(gathered),
        "block_table": table,
        "swa_block_table": swa_table,
        "window_size": options.window,
        "compress_ratio": RATIO,
        "max_compressed_len": max(compressed, default=0),
        "max_gather_len": max(gathered, default=0),
        "max_union": 0,
        "attend": fetch,
        "output": torch.full(shape, torch.nan, dtype=torch.bfloat16, device=device),
    }
    step["max_union"] = max(0, len(distinct(step)) + options.spare_rows)
    return step


def distinct(step: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The request and the number of every entry that some query names, in order."""
    found = {
        (request, entry)
        for request, _, entries in _queries(step)
        for entry in entries
        if _slot(step, request, entry) >= 0
    }
    return sorted(found)


def oracle(step: Mapping[str, Any]) -> torch.Tensor:
    """What `fetch` must find, a query at a time: float64, as ``output``, on the CPU.

    Distinct entries beyond ``max_union`` are padding, the last requests' and entries' first.
    """
    with_rows = set(distinct(step)[: step["max_union"]])
    keys = {name: _decoded(step[name]) for name in ("k_cache", "swa_k_cache")}
    expected = torch.zeros(step["output"].shape, dtype=torch.float64)
    for query, (request, position, entries) in enumerate(_queries(step)):
        for column, entry in enumerate(entries):
            if (request, entry) in with_rows:
                expected[query, column] = keys["k_cache"][_slot(step, request, entry)]
        first = max(0, position - step["window_size"] + 1)
        for column, token in enumerate(range(first, position + 1), len(entries)):
            slot = _swa_slot(step, request, token)
            if slot >= 0:
                expected[query, column] = keys["swa_k_cache"][slot]
    return expected


def _queries(step: Mapping[str, Any]) -> list[tuple[int, int, list[int]]]:
    """Each query's request, the position of its token, and the entries that it names."""
    starts = step["query_start_loc"].tolist()
    found = []
    for request, (begin, end) in enumerate(itertools.pairwise(starts)):
        length = int(step["seq_lens"][request])
        for query in range(begin, end):
            position = length - (end - query)
            visible = max(0, (position + 1) // step["compress_ratio"])
            row = step["topk_indices"][query - starts[0]].tolist()
            found.append((request, position, row[:visible]))
    return found


def _slot(step: Mapping[str, Any], request: int, entry: int) -> int:
    """An entry's slot in the compressed cache; -1 where it has none."""
    if not 0 <= entry < int(step["compressed_lens"][request]):
        return -1
    return _slot_of(step["block_table"], step["k_cache"], request, entry)


def _swa_slot(step: Mapping[str, Any], request: int, token: int) -> int:
    first = int(step["seq_lens"][request] - step["gather_lens"][request])
    if token < first:
        return -1
    return _slot_of(step["swa_block_table"], step["swa_k_cache"], request, token)


def _slot_of(table: torch.Tensor, cache: torch.Tensor, request: int, entry: int) -> int:
    num_blocks, block_size = cache.shape[:2]
    if entry // block_size >= table.shape[1]:
        return -1
    block = int(table[request, entry // block_size])
    return block * block_size + entry % block_size if 0 <= block < num_blocks else -1


def _decoded(cache: torch.Tensor) -> torch.Tensor:
    """Every key, float64 [num_slots, 512] on the CPU."""
    values = dequantize(block_view(cache).cpu(), cache.shape[1], FP8_DS_MLA_V4, torch.float8_e4m3fn)
    return values.to(torch.float64).flatten(0, 1)
