"""Decode steps that are unusual and right: no detector may say anything of them."""

from __future__ import annotations

from typing import Any

import torch

from oom_suite.selfcheck.faults.addresses import Address, flat_gather
from oom_suite.selfcheck.faults.declare import twin
from oom_suite.selfcheck.faults.gather import (
    Pieces,
    decode_holding,
    gather,
    parts_of,
    pool_rows,
    rows_named,
    values_of,
    where_named,
)
from oom_suite.selfcheck.faults.record import LAW
from oom_suite.selfcheck.faults.twin_pieces import (
    KeysInHalves,
    RowByRow,
    TwoPasses,
    clamped_slots,
    power_of_two,
    rows_by_flat_index,
    slot_numbers,
    some_tokens,
    sorted_slots,
    values_by_exponent,
)
from oom_suite.workloads.sparse_mla.builtins import streaming_decode, token_gather_decode
from oom_suite.workloads.sparse_mla.builtins.attention import RunningAttention
from oom_suite.workloads.sparse_mla.builtins.rows import Slots

# What a twin's memory can depend on beside the pools; no other axis is varied for its law.
_BATCH = ("num_tokens",)
_QUERIES = ("num_tokens", "num_heads")
_ENTRIES = ("num_tokens", "swa_topk")
_COMPRESSED_ENTRIES = ("num_tokens", "extra_topk")
_LOGITS = (*_QUERIES, "extra_topk")

_WORKSPACE_BYTES = 1 << 20
_KEPT: dict[str, torch.Tensor] = {}


@twin(LAW, along=_ENTRIES)
def in_chunks(**step: Any) -> None:
    """Reads its entries in chunks."""
    streaming_decode(**step)


@twin("writes", along=_BATCH)
def row_by_row(**step: Any) -> None:
    """Writes the result one row after the other."""
    gather(step, Pieces(attention=RowByRow))


@twin("precision", along=_QUERIES)
def heads_in_two_halves(**step: Any) -> None:
    """Attends with half of the heads at a time, to keys that are gathered each time."""
    sink, middle = step["attn_sink"], step["q"].shape[1] // 2
    for heads in (slice(None, middle), slice(middle, None)):
        token_gather_decode(
            **{
                **step,
                "q": step["q"][:, heads],
                "output": step["output"][:, heads],
                "attn_sink": None if sink is None else sink[: step["q"].shape[1]][heads],
            }
        )


@twin("indices", along=_BATCH)
def halves_of_the_batch(**step: Any) -> None:
    """Decodes the second half of the batch before the first."""
    middle = step["q"].shape[0] // 2
    token_gather_decode(**some_tokens(step, slice(middle, None)))
    token_gather_decode(**some_tokens(step, slice(None, middle)))


@twin("indices", along=_BATCH)
def reversed_batch(**step: Any) -> None:
    """Decodes the batch in reverse order."""
    order = torch.arange(step["q"].shape[0] - 1, -1, -1, device=step["q"].device)
    turned = some_tokens(step, order)
    token_gather_decode(**turned)
    step["output"].index_copy_(0, order, turned["output"])


@twin("creep", about_two_pools=True, along=_BATCH, is_stateful=True)
def workspace_in_a_global(**step: Any) -> None:
    """A workspace of constant size that is made once."""
    q = step["q"]
    kept = _KEPT.get("workspace")
    if kept is None or kept.device != q.device:
        kept = torch.empty(_WORKSPACE_BYTES, dtype=torch.uint8, device=q.device)
        _KEPT["workspace"] = kept
    kept[:1].zero_()
    token_gather_decode(**step)


@twin(LAW, about_two_pools=True, along=_BATCH, is_stateful=True)
def workspace_that_settles(**step: Any) -> None:
    """A workspace that doubles with the batch, and is then large enough."""
    q = step["q"]
    wanted = power_of_two(max(128, q.shape[0])) * 1024
    kept = _KEPT.get("settling")
    if kept is None or kept.device != q.device or kept.shape[0] < wanted:
        _KEPT["settling"] = torch.empty(wanted, dtype=torch.uint8, device=q.device)
    token_gather_decode(**step)


@twin(LAW, along=_BATCH)
def more_than_needed(**step: Any) -> None:
    """A buffer of 16 MiB of which nothing is used."""
    q = step["q"]
    decode_holding(step, torch.empty(16 << 20, dtype=torch.uint8, device=q.device))


@twin(LAW, along=_ENTRIES)
def padded_to_a_power_of_two(**step: Any) -> None:
    """Room for the entries named, padded to a power of two."""
    room = []
    for part in parts_of(step):
        named = power_of_two(part.indices.numel())
        room.append(torch.empty((named, 584), dtype=torch.uint8, device=part.pool.device))
    decode_holding(step, room)


@twin(LAW, along=_QUERIES)
def batch_padded_to_sixteen(**step: Any) -> None:
    """Queries of a batch padded to a multiple of 16."""
    q = step["q"]
    padded = torch.zeros((-(-q.shape[0] // 16) * 16, *q.shape[1:]), dtype=q.dtype, device=q.device)
    padded[: q.shape[0]].copy_(q)
    token_gather_decode(**{**step, "q": padded[: q.shape[0]]})


@twin("writes", along=_QUERIES)
def clone_of_queries(**step: Any) -> None:
    """Works on a copy of the queries."""
    token_gather_decode(**{**step, "q": step["q"].clone()})


@twin(LAW, along=_QUERIES)
def queries_in_float32(**step: Any) -> None:
    """Widens the queries to float32 first."""
    token_gather_decode(**{**step, "q": step["q"].to(torch.float32)})


@twin("indices", along=_ENTRIES)
def indices_as_int64(**step: Any) -> None:
    """Widens the indices to int64 first."""
    topk = step["topk_indices"]
    wide = {
        "swa_indices": step["swa_indices"].to(torch.int64),
        "topk_indices": None if topk is None else topk.to(torch.int64),
    }
    token_gather_decode(**{**step, **wide})


@twin("writes", along=_ENTRIES)
def indices_cloned_and_clamped(**step: Any) -> None:
    """Clamps a copy of the indices; padding is masked by the original."""
    gather(step, Pieces(locate=clamped_slots))


@twin("writes", along=_QUERIES)
def output_written_twice(**step: Any) -> None:
    """Zeroes the output, then writes it."""
    step["output"].zero_()
    token_gather_decode(**step)


@twin("writes", along=_QUERIES)
def output_by_copy(**step: Any) -> None:
    """Writes into a buffer of its own, and copies that."""
    result = torch.empty_like(step["output"])
    token_gather_decode(**{**step, "output": result})
    step["output"].copy_(result)


@twin("reads", along=_QUERIES)
def view_into_a_larger_buffer(**step: Any) -> None:
    """Writes into the middle of a buffer of its own, and copies that."""
    output = step["output"]
    room = output.new_empty((output.shape[0] + 2, *output.shape[1:]))
    token_gather_decode(**{**step, "output": room[1:-1]})
    output.copy_(room[1:-1])


@twin("addresses", along=_ENTRIES)
def flat_addresses(**step: Any) -> None:
    """Reads the pool as flat bytes, at addresses in int64."""
    flat_gather(step, Address)


@twin("addresses", along=_BATCH)
def strided_view(**step: Any) -> None:
    """Reads a view of the pool that as_strided made."""
    pool = step["swa_k_cache"]
    again = pool.as_strided(pool.shape, pool.stride(), pool.storage_offset())
    token_gather_decode(**{**step, "swa_k_cache": again})


@twin("indices", along=_ENTRIES)
def sorted_entries(**step: Any) -> None:
    """Reads the entries of each row in ascending order of their slots."""
    gather(step, Pieces(locate=sorted_slots))


@twin("indices", along=_ENTRIES)
def entries_reversed(**step: Any) -> None:
    """Reads the entries of each row from the last to the first."""
    gather(step, Pieces(locate=lambda part: Slots(*(each.flip(1) for each in where_named(part)))))


@twin("precision", about_two_pools=True, along=_COMPRESSED_ENTRIES)
def pools_in_other_order(**step: Any) -> None:
    """Attends to the compressed pool before the window's."""
    attention = RunningAttention(step["q"], step["scale"])
    for part in reversed(parts_of(step)):
        slots = where_named(part)
        keys = values_of(rows_named(pool_rows(part, step), slots))
        attention.add(keys, slots.counts)
    attention.finish(step["attn_sink"], step["output"])


@twin("precision", about_two_pools=True, along=_LOGITS)
def softmax_in_two_passes(**step: Any) -> None:
    """Computes the logits twice."""
    gather(step, Pieces(attention=TwoPasses))


@twin("precision", along=_ENTRIES)
def keys_in_two_halves(**step: Any) -> None:
    """Attends to the two halves of the keys one after the other."""
    gather(step, Pieces(attention=KeysInHalves))


@twin("capture", along=_ENTRIES)
def duplicates_found_by_sort(**step: Any) -> None:
    """Finds entries named twice by sorting, without a count on the host."""
    for part in parts_of(step):
        ordered = slot_numbers(part, where_named(part)).sort(dim=1).values
        repeated = ordered[:, 1:] == ordered[:, :-1]
        del repeated
    token_gather_decode(**step)


@twin("reads", along=_ENTRIES)
def rows_by_index_select(**step: Any) -> None:
    """Gathers whole rows by index_select over a flat view of the referenced tokens."""
    gather(step, Pieces(rows=rows_by_flat_index))


@twin("precision", along=_ENTRIES)
def decoded_in_bf16(**step: Any) -> None:
    """Decodes to bf16, which is exact, and widens after."""
    gather(step, Pieces(values=lambda rows: rows.decode(torch.bfloat16).to(torch.float32)))


@twin("precision", along=_ENTRIES)
def scales_by_exponent(**step: Any) -> None:
    """Makes the scales from their exponents' bits, without torch's e8m0."""
    gather(step, Pieces(values=values_by_exponent))


@twin("addresses", along=_ENTRIES)
def block_ids_as_int32(**step: Any) -> None:
    """Keeps block numbers in int32 and multiplies them in int64."""

    class Wide(Address):
        """Narrow numbers, wide products."""

        def start(self, block: torch.Tensor) -> torch.Tensor:
            return super().start(block.to(torch.int32).to(torch.int64))

    flat_gather(step, Wide)


@twin("creep", along=_QUERIES)
def scratch_made_and_dropped(**step: Any) -> None:
    """Makes and drops the same scratch several times."""
    q = step["q"]
    for _ in range(8):
        scratch = torch.zeros(q.shape, dtype=torch.float32, device=q.device)
        del scratch
    token_gather_decode(**step)


@twin("capture", along=_BATCH)
def narrower_for_one_request(**step: Any) -> None:
    """Takes the chunked path for one request and the gathering one for more."""
    if step["q"].shape[0] == 1:
        streaming_decode(**step)
    else:
        token_gather_decode(**step)


@twin("writes", along=_QUERIES)
def sink_as_a_copy(**step: Any) -> None:
    """Works on a copy of the sink."""
    sink = step["attn_sink"]
    token_gather_decode(**{**step, "attn_sink": None if sink is None else sink.clone()})
