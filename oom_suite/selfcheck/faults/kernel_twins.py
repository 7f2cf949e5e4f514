"""The reference kernels, called or pieced together in unusual ways that are right."""

from __future__ import annotations

import functools
from typing import Any

import torch

from oom_suite.selfcheck.faults.declare import twin
from oom_suite.selfcheck.faults.kernel_pieces import (
    DECODE,
    GATHER,
    counting_bits,
    finding_windows,
    planted,
)
from oom_suite.selfcheck.faults.kernels import decode_one_head, rows_of
from oom_suite.selfcheck.faults.record import LAW, ONE_POOL
from oom_suite.workloads.sparse_mla.kernels.decode import fused_decode
from oom_suite.workloads.sparse_mla.kernels.gather import dequantize_and_gather_k_cache_sparse
from oom_suite.workloads.sparse_mla.kernels.prefill import union_staging

_gather = functools.partial(twin, workload="gather")
_gather_kernel = functools.partial(_gather, launches_kernels=True)
_decode_kernel = functools.partial(twin, launches_kernels=True, along=("num_tokens",))
_chunk = functools.partial(twin, workload="prefill-gather", along=("num_queries",))
_chunk_kernel = functools.partial(_chunk, launches_kernels=True)

_KEPT: dict[tuple[str, int], torch.Tensor] = {}


def _scratch(of: torch.Tensor) -> torch.Tensor:
    """A byte for each row of a tensor, made once for each number of rows."""
    key = (str(of.device), of.shape[0])
    if key not in _KEPT:
        _KEPT[key] = torch.empty(of.shape[0], dtype=torch.uint8, device=of.device)
    return _KEPT[key]


@_gather(LAW)
def flag_for_each_slot(**step: Any) -> None:
    """Marks the slots that are padding in a table of those that are wanted."""
    is_padding = step["slot_indices"] < 0
    dequantize_and_gather_k_cache_sparse(**step)
    del is_padding


@_gather("writes")
def rows_by_copy(**step: Any) -> None:
    """Gathers into rows of its own, and copies those that are no padding."""
    rows = rows_of(step, step["slot_indices"])
    is_wanted = (step["slot_indices"] >= 0).unsqueeze(1)
    step["out"].copy_(torch.where(is_wanted, rows, step["out"]))


@_gather_kernel("reads")
def gather_masks_the_eighth_scale(**step: Any) -> None:
    """Gathers with eight bytes of scales, the last one masked."""
    with planted(step["out"], GATHER, nope_tile="seven_scales_of_eight"):
        dequantize_and_gather_k_cache_sparse(**step)


@_gather("indices")
def slots_beyond_made_padding(**step: Any) -> None:
    """Makes padding of the slots that the cache does not have, up to its last."""
    slots, num_slots = step["slot_indices"], step["k_cache"].shape[0] * step["block_size"]
    named = slots.where((slots >= 0) & (slots <= num_slots - 1), -1).to(torch.int32)
    dequantize_and_gather_k_cache_sparse(**{**step, "slot_indices": named})


@_gather_kernel("addresses")
def gather_pages_in_sixteens(**step: Any) -> None:
    """Gathers from pages that are counted in 16 bytes: 32 bits reach to 32 GiB."""
    with planted(step["out"], GATHER, places="page_in_sixteens"):
        dequantize_and_gather_k_cache_sparse(**step)


@_gather("capture")
def padding_counted_on_the_device(**step: Any) -> None:
    """Counts padding without asking for the number."""
    num_padding = (step["slot_indices"] < 0).sum()
    dequantize_and_gather_k_cache_sparse(**step)
    del num_padding


@_gather("creep", is_stateful=True)
def scratch_for_each_number_of_slots(**step: Any) -> None:
    """Keeps a scratch for each number of slots that comes."""
    _scratch(step["slot_indices"])
    dequantize_and_gather_k_cache_sparse(**step)


@_gather_kernel("precision")
def gather_multiplies_in_bf16(**step: Any) -> None:
    """Gathers with values and scales that are rounded to bf16 first, which is exact."""
    with planted(step["out"], GATHER, nope_tile="product_in_bf16"):
        dequantize_and_gather_k_cache_sparse(**step)


@_decode_kernel("reads")
def decode_masks_the_eighth_scale(**step: Any) -> None:
    """Attends to keys with eight bytes of scales, the last one masked."""
    decode_one_head(step, nope_tile="seven_scales_of_eight")


@_decode_kernel("writes", workload=ONE_POOL)
def rows_without_keys_apart(**step: Any) -> None:
    """Stores rows with keys and rows without by a mask of their own each."""
    with planted(step["q"], DECODE, store_heads="heads_of_the_query"):
        fused_decode(**step)


@_decode_kernel("addresses", workload=ONE_POOL)
def decode_pages_in_sixteens(**step: Any) -> None:
    """Attends to keys in pages that are counted in 16 bytes: 32 bits reach to 32 GiB."""
    decode_one_head(step, places="page_in_sixteens")


@_decode_kernel("precision")
def decode_multiplies_in_bf16(**step: Any) -> None:
    """Attends to keys whose values and scales are rounded to bf16 first, which is exact."""
    with planted(step["q"], DECODE, nope_tile="product_in_bf16"):
        fused_decode(**step)


@_decode_kernel("precision")
def weights_in_bf16_once(**step: Any) -> None:
    """Multiplies weights as one bf16 number each: the most that the tolerance allows."""
    with planted(step["q"], DECODE, _weighted="weights_in_bf16"):
        fused_decode(**step)


@_chunk("writes")
def starts_moved_in_a_copy(**step: Any) -> None:
    """Lets the first query's number be zero in a tensor of its own."""
    starts = step["query_start_loc"]
    union_staging(**{**step, "query_start_loc": starts - starts[:1]})


@_chunk("capture")
def union_counted_on_the_device(**step: Any) -> None:
    """Counts the rows that are missing where the number of distinct entries lies."""
    found = torch.empty(1, dtype=torch.int32, device=step["k_cache"].device)
    union_staging(**step, num_union=found)
    found.sub_(step["max_union"]).clamp_(min=0)


@_chunk_kernel("addresses")
def windows_pages_in_sixteens(**step: Any) -> None:
    """Decodes windows from pages that are counted in 16 bytes: 32 bits reach to 32 GiB."""
    finding_windows(step, "page_in_sixteens")


@_chunk_kernel("precision")
def ranks_byte_by_byte(**step: Any) -> None:
    """Ranks entries by bits that are counted a byte at a time, without a product."""
    counting_bits(step, "bits_byte_by_byte")
