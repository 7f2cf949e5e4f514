"""Faults of the reference kernels, of each one or more for each detector.

Masks, addresses and arithmetic go wrong in the kernel itself: there one of its own functions is
replaced (`kernel_pieces`). What is around it goes wrong in what calls it.
"""

from __future__ import annotations

import functools
from typing import Any
from unittest import mock

import torch

from oom_suite.selfcheck.faults.declare import mutant
from oom_suite.selfcheck.faults.kernel_pieces import (
    DECODE,
    GATHER,
    counting_bits,
    finding_windows,
    planted,
)
from oom_suite.selfcheck.faults.record import LAW, ONE_POOL
from oom_suite.selfcheck.faults.twin_pieces import some_tokens
from oom_suite.workloads.sparse_mla.builtins import streaming_decode
from oom_suite.workloads.sparse_mla.kernels import gather, prefill
from oom_suite.workloads.sparse_mla.kernels.decode import fused_decode
from oom_suite.workloads.sparse_mla.kernels.gather import dequantize_and_gather_k_cache_sparse
from oom_suite.workloads.sparse_mla.kernels.parts import Parts
from oom_suite.workloads.sparse_mla.kernels.prefill import union_staging

_gather = functools.partial(mutant, workload="gather")
_gather_kernel = functools.partial(_gather, launches_kernels=True)
_decode_kernel = functools.partial(mutant, launches_kernels=True)
_chunk = functools.partial(mutant, workload="prefill-gather")
_chunk_kernel = functools.partial(_chunk, launches_kernels=True)

_KEPT: list[torch.Tensor] = []


def rows_of(step: dict[str, Any], slots: torch.Tensor) -> torch.Tensor:
    """The rows of slots, bfloat16 [num_slots, 512], in memory of their own."""
    rows = torch.empty(slots.shape[0], 512, dtype=torch.bfloat16, device=slots.device)
    dequantize_and_gather_k_cache_sparse(rows, step["k_cache"], slots, step["block_size"])
    return rows


def _every_slot(pool: torch.Tensor) -> torch.Tensor:
    return torch.arange(pool.shape[0] * pool.shape[1], dtype=torch.int32, device=pool.device)


def decode_one_head(step: dict[str, Any], **pieces: str) -> None:
    """A step whose last row has its first head from the kernel with these pieces.

    All else is torch's: the interpreter is slow.
    """
    streaming_decode(**step)
    last, sink = some_tokens(step, slice(-1, None)), step["attn_sink"]
    one = {"q": last["q"][:, :1], "output": last["output"][:, :1]}
    with planted(step["q"], DECODE, **pieces):
        fused_decode(**{**last, **one, "attn_sink": None if sink is None else sink[:1]})


@_gather(LAW, "rows_of")
def whole_cache_decoded(**step: Any) -> None:
    """Decodes the whole cache, and selects the rows that are wanted."""
    rows = rows_of(step, _every_slot(step["k_cache"]))
    slots = step["slot_indices"]
    wanted = rows.index_select(0, slots.clamp_min(0))
    step["out"].copy_(torch.where((slots >= 0).unsqueeze(1), wanted, step["out"]))


@_gather(LAW)
def flag_for_each_block(**step: Any) -> None:
    """Marks the blocks that are named in a table of all of them."""
    pool, slots = step["k_cache"], step["slot_indices"].clamp_min(0).to(torch.int64)
    is_named = torch.zeros(pool.shape[0], dtype=torch.uint8, device=pool.device)
    is_named.index_fill_(0, slots // step["block_size"], 1)
    dequantize_and_gather_k_cache_sparse(**step)


@_gather_kernel("reads", "reads-pad-byte")
def gather_reads_eight_scales(**step: Any) -> None:
    """Gathers with a token's eight bytes of scales, of which seven are scales."""
    with planted(step["out"], GATHER, nope_tile="eight_scales"):
        dequantize_and_gather_k_cache_sparse(**step)


@_gather("writes", "writes-outside")
def row_past_the_last(**step: Any) -> None:
    """Stores a row more than there is, as a grid rounded up does."""
    out, slots = step["out"], step["slot_indices"]
    dequantize_and_gather_k_cache_sparse(**step)
    end = out.storage_offset() + out.numel()
    if slots.numel() and end + out.shape[1] <= out.untyped_storage().nbytes() // 2:
        past = {"out": out.as_strided((1, out.shape[1]), (out.shape[1], 1), end)}
        dequantize_and_gather_k_cache_sparse(**{**step, **past, "slot_indices": slots[:1]})


@_gather("writes", "leaves-output-unwritten")
def last_program_missing(**step: Any) -> None:
    """Leaves the rows of the last program unwritten, as a grid rounded down does."""
    whole = step["slot_indices"].shape[0] // 4 * 4
    some = {name: step[name][:whole] for name in ("out", "slot_indices")}
    dequantize_and_gather_k_cache_sparse(**{**step, **some})


@_gather("indices", "wrong-answer")
def padding_taken_for_slot_zero(**step: Any) -> None:
    """Masks nothing where a slot is -1, and stores the row of slot 0."""
    named = step["slot_indices"].clamp_min(0)
    dequantize_and_gather_k_cache_sparse(**{**step, "slot_indices": named})


@_gather("indices", "wrong-answer")
def slots_taken_as_contiguous(**step: Any) -> None:
    """Reads slots one behind the other, whatever their stride."""
    dense = step["slot_indices"].as_strided(step["slot_indices"].shape, (1,))
    dequantize_and_gather_k_cache_sparse(**{**step, "slot_indices": dense})


@_gather_kernel("addresses", "wrong-address")
def gather_pages_in_int32(**step: Any) -> None:
    """Gathers from pages whose first byte is 32 bits wide: wrong from 2 GiB on."""
    with planted(step["out"], GATHER, places="page_in_int32"):
        dequantize_and_gather_k_cache_sparse(**step)


@_gather("capture", "host-sync", "capture-refused")
def padding_counted_on_the_host(**step: Any) -> None:
    """Asks on the host whether any slot is padding."""
    if (step["slot_indices"] < 0).any().item():
        step = {**step, "slot_indices": step["slot_indices"].clone()}
    dequantize_and_gather_k_cache_sparse(**step)


@_gather("creep", "leaked-reference", is_stateful=True)
def slots_kept(**step: Any) -> None:
    """Keeps a copy of the slots of every call."""
    _KEPT.append(step["slot_indices"].clone())
    dequantize_and_gather_k_cache_sparse(**step)


@_gather_kernel("precision", "wrong-answer")
def gather_with_one_scale_for_a_tile(**step: Any) -> None:
    """Gathers with the first scale of each tile for all of its groups."""
    with planted(step["out"], GATHER, nope_tile="one_scale_for_a_tile"):
        dequantize_and_gather_k_cache_sparse(**step)


@_gather_kernel("precision", "wrong-answer")
def gather_of_fnuz_as_fn(*, fp8_dtype: torch.dtype = torch.float8_e4m3fn, **step: Any) -> None:
    """Gathers MI300's own fp8 as e4m3fn: every value twice as large."""
    with planted(step["out"], GATHER, widened="fnuz_read_as_fn"):
        dequantize_and_gather_k_cache_sparse(**step, fp8_dtype=fp8_dtype)


@mutant(LAW, "rows_of", along=())
def whole_pool_decoded_beside(**step: Any) -> None:
    """Decodes the whole pool before a step in one pass, as #41962 did."""
    pool = step["swa_k_cache"]
    rows_of({"k_cache": pool, "block_size": pool.shape[1]}, _every_slot(pool))
    fused_decode(**step)


@_decode_kernel("reads", "reads-pad-byte")
def decode_reads_eight_scales(**step: Any) -> None:
    """Attends to keys with a token's eight bytes of scales, of which seven are scales."""
    decode_one_head(step, nope_tile="eight_scales")


@_decode_kernel("writes", "writes-outside", workload=ONE_POOL)
def heads_of_the_tile_stored(**step: Any) -> None:
    """Stores as many heads as a program has room for, masked or not."""
    with planted(step["q"], DECODE, store_heads="heads_of_the_tile"):
        fused_decode(**step)


@_decode_kernel("writes", "leaves-output-unwritten", workload=ONE_POOL)
def row_without_keys_masked(**step: Any) -> None:
    """Masks the store of rows whose sum of weights is zero."""
    with planted(step["q"], DECODE, store_heads="rows_with_keys"):
        fused_decode(**step)


@mutant("indices", "wrong-answer")
def rows_taken_as_contiguous(**step: Any) -> None:
    """Reads rows of indices in one pass one behind the other, whatever their stride."""
    indices = step["swa_indices"]
    dense = indices.as_strided(indices.shape, (indices.shape[1], 1))
    fused_decode(**{**step, "swa_indices": dense})


@_decode_kernel("addresses", "wrong-address", workload=ONE_POOL)
def decode_pages_in_int32(**step: Any) -> None:
    """Attends to keys in pages whose first byte is 32 bits wide: wrong from 2 GiB on."""
    decode_one_head(step, places="page_in_int32")


@mutant("capture", "host-sync", "capture-refused")
def splits_by_the_longest(**step: Any) -> None:
    """Chooses the splits by the longest row, which the host reads."""
    longest = int(step["swa_lens"].max().item()) if step["swa_lens"].numel() else 0
    width = max(1, min(longest, step["swa_indices"].shape[1]))
    fused_decode(**{**step, "swa_indices": step["swa_indices"][:, :width]})


@mutant("creep", "leaked-reference", is_stateful=True)
def parts_kept(**step: Any) -> None:
    """Keeps the parts of every step."""
    _KEPT.append(torch.empty(step["q"].shape, dtype=torch.float32, device=step["q"].device))
    fused_decode(**step)


@_decode_kernel("precision", "wrong-answer", workload=ONE_POOL)
def sums_cut_to_bf16(**step: Any) -> None:
    """Cuts the weighted sum to bf16 after every tile."""
    with planted(step["q"], DECODE, _weighted="sums_cut_to_bf16"):
        fused_decode(**step)


@_decode_kernel("precision", "wrong-answer", about_two_pools=True)
def sink_missing_in_the_merge(**step: Any) -> None:
    """Merges the parts of a split step without the sink, where there are two pools."""
    if step["kv_cache"] is None or step["attn_sink"] is None:
        streaming_decode(**step)
        return
    merge = Parts.merge
    # Of a step that is given no room for parts, the portable kernel alone makes some.
    with (
        planted(step["q"], DECODE),
        mock.patch.object(Parts, "merge", lambda parts, _: merge(parts, None)),
    ):
        fused_decode(**step)


@_chunk(LAW, along=())
def flag_in_a_byte(**step: Any) -> None:
    """Keeps a flag for each entry of a prefix, in a byte of its own, beside the rows."""
    shape = (step["seq_lens"].shape[0], step["max_compressed_len"])
    is_named = torch.zeros(shape, dtype=torch.uint8, device=step["k_cache"].device)
    union_staging(**step)
    del is_named


@_chunk("reads", "reads-uninitialised-memory")
def last_token_of_windows_left(**step: Any) -> None:
    """Decodes windows up to the token before the last, whose row is named and unwritten."""

    def without(out: Any, pool: Any, lens: Any, gathered: Any, *rest: Any) -> None:
        gather.dequantize_and_gather_k_cache(out, pool, lens - 1, gathered - 1, *rest)

    with mock.patch.object(prefill, "dequantize_and_gather_k_cache", without):
        union_staging(**step)


@_chunk("writes", "writes-input")
def starts_moved_in_place(**step: Any) -> None:
    """Lets the first query's number be zero in the caller's own tensor."""
    starts = step["query_start_loc"]
    starts.sub_(starts[:1].clone())
    union_staging(**step)


@_chunk("indices", "wrong-answer")
def tables_taken_as_contiguous(**step: Any) -> None:
    """Reads the windows' table one row behind the other, whatever its stride."""
    table = step["swa_block_table"]
    dense = table.as_strided(table.shape, (table.shape[1], 1))
    union_staging(**{**step, "swa_block_table": dense})


@_chunk_kernel("addresses", "wrong-address")
def windows_pages_in_int32(**step: Any) -> None:
    """Decodes windows from pages whose first byte is 32 bits wide: wrong from 2 GiB on."""
    finding_windows(step, "page_in_int32")


@_chunk("capture", "host-sync", "capture-refused")
def union_counted_on_the_host(**step: Any) -> None:
    """Waits for the number of distinct entries, to see whether there were rows for all."""
    found = torch.empty(1, dtype=torch.int32, device=step["k_cache"].device)
    union_staging(**step, num_union=found)
    if int(found.item()) > step["max_union"]:
        raise ValueError("there are more distinct entries than rows")


@_chunk("creep", "leaked-reference", is_stateful=True)
def counts_kept(**step: Any) -> None:
    """Keeps the number of distinct entries of every call, for a later look at them."""
    _KEPT.append(torch.empty(1, dtype=torch.int32, device=step["k_cache"].device))
    union_staging(**step, num_union=_KEPT[-1])


@_chunk_kernel("precision", "wrong-answer")
def ranks_by_the_low_byte(**step: Any) -> None:
    """Ranks entries by the lowest byte of their word of flags: some get each other's rows."""
    counting_bits(step, "bits_of_the_low_byte")
