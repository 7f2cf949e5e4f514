"""Decode steps that are unusual and right: no detector may say anything of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.selfcheck.faults.addresses import Address, flat_gather
from oom_suite.selfcheck.faults.gather import (
    Pieces,
    gather,
    parts_of,
    pool_rows,
    rows_named,
    values_of,
    where_named,
)
from oom_suite.workloads.sparse_mla.builtins import streaming_decode, token_gather_decode
from oom_suite.workloads.sparse_mla.builtins.attention import RunningAttention
from oom_suite.workloads.sparse_mla.builtins.rows import Fp8Rows, Slots

if TYPE_CHECKING:
    from oom_suite.workloads.sparse_mla.builtins.rows import PoolRead

_WORKSPACE_BYTES = 1 << 20
_KEPT: dict[str, torch.Tensor] = {}
_ROWS = ("q", "topk_indices", "topk_lens", "swa_indices", "swa_lens", "output")


def _power_of_two(value: int) -> int:
    return 1 << (value - 1).bit_length() if value > 1 else 1


def _rows(step: dict[str, Any], rows: Any) -> dict[str, Any]:
    """The step of some of the tokens; views where `rows` is a slice."""
    return {
        name: value[rows] if name in _ROWS and value is not None else value
        for name, value in step.items()
    }


def in_chunks(**step: Any) -> None:
    """Reads its entries in chunks."""
    streaming_decode(**step)


class _RowByRow(RunningAttention):
    """The result is written one row after the other."""

    def finish(self, attn_sink: torch.Tensor | None, output: torch.Tensor) -> None:
        result = torch.empty_like(output)
        super().finish(attn_sink, result)
        for token in range(output.shape[0]):
            output[token] = result[token]


def row_by_row(**step: Any) -> None:
    """Writes the result one row after the other."""
    gather(step, Pieces(attention=_RowByRow))


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


def halves_of_the_batch(**step: Any) -> None:
    """Decodes the second half of the batch before the first."""
    middle = step["q"].shape[0] // 2
    token_gather_decode(**_rows(step, slice(middle, None)))
    token_gather_decode(**_rows(step, slice(None, middle)))


def reversed_batch(**step: Any) -> None:
    """Decodes the batch in reverse order."""
    order = torch.arange(step["q"].shape[0] - 1, -1, -1, device=step["q"].device)
    turned = _rows(step, order)
    token_gather_decode(**turned)
    step["output"].index_copy_(0, order, turned["output"])


def workspace_in_a_global(**step: Any) -> None:
    """A workspace of constant size that is made once."""
    q = step["q"]
    kept = _KEPT.get("workspace")
    if kept is None or kept.device != q.device:
        kept = torch.empty(_WORKSPACE_BYTES, dtype=torch.uint8, device=q.device)
        _KEPT["workspace"] = kept
    kept[:1].zero_()
    token_gather_decode(**step)


def workspace_that_settles(**step: Any) -> None:
    """A workspace that doubles with the batch, and is then large enough."""
    q = step["q"]
    wanted = _power_of_two(max(128, q.shape[0])) * 1024
    kept = _KEPT.get("settling")
    if kept is None or kept.device != q.device or kept.shape[0] < wanted:
        _KEPT["settling"] = torch.empty(wanted, dtype=torch.uint8, device=q.device)
    token_gather_decode(**step)


def more_than_needed(**step: Any) -> None:
    """A buffer of 16 MiB of which nothing is used."""
    q = step["q"]
    spare = torch.empty(16 << 20, dtype=torch.uint8, device=q.device)
    token_gather_decode(**step)
    del spare


def padded_to_a_power_of_two(**step: Any) -> None:
    """Room for the entries named, padded to a power of two."""
    room = []
    for part in parts_of(step):
        named = _power_of_two(part.indices.numel())
        room.append(torch.empty((named, 584), dtype=torch.uint8, device=part.pool.device))
    token_gather_decode(**step)
    del room


def batch_padded_to_sixteen(**step: Any) -> None:
    """Queries of a batch padded to a multiple of 16."""
    q = step["q"]
    padded = torch.zeros((-(-q.shape[0] // 16) * 16, *q.shape[1:]), dtype=q.dtype, device=q.device)
    padded[: q.shape[0]].copy_(q)
    token_gather_decode(**{**step, "q": padded[: q.shape[0]]})


def clone_of_queries(**step: Any) -> None:
    """Works on a copy of the queries."""
    token_gather_decode(**{**step, "q": step["q"].clone()})


def queries_in_float32(**step: Any) -> None:
    """Widens the queries first."""
    token_gather_decode(**{**step, "q": step["q"].to(torch.float32)})


def indices_as_int64(**step: Any) -> None:
    """Widens the indices first."""
    topk = step["topk_indices"]
    wide = {
        "swa_indices": step["swa_indices"].to(torch.int64),
        "topk_indices": None if topk is None else topk.to(torch.int64),
    }
    token_gather_decode(**{**step, **wide})


def indices_cloned_and_clamped(**step: Any) -> None:
    """Clamps a copy of the indices, and shortens nothing: padding is masked by the original."""

    def locate(part: PoolRead) -> Slots:
        counts = where_named(part).counts
        named = part.indices.clone().clamp_min_(0).to(torch.int64) * counts
        return Slots(named // part.pool.shape[1], named % part.pool.shape[1], counts)

    gather(step, Pieces(locate=locate))


def output_written_twice(**step: Any) -> None:
    """Zeroes the output, then writes it."""
    step["output"].zero_()
    token_gather_decode(**step)


def output_by_copy(**step: Any) -> None:
    """Writes into a buffer of its own, and copies that."""
    result = torch.empty_like(step["output"])
    token_gather_decode(**{**step, "output": result})
    step["output"].copy_(result)


def view_into_a_larger_buffer(**step: Any) -> None:
    """Writes into the middle of a buffer of its own, and copies that."""
    output = step["output"]
    room = output.new_empty((output.shape[0] + 2, *output.shape[1:]))
    token_gather_decode(**{**step, "output": room[1:-1]})
    output.copy_(room[1:-1])


def flat_addresses(**step: Any) -> None:
    """Reads the pool as flat bytes, at addresses in int64."""
    flat_gather(step, Address)


def strided_view(**step: Any) -> None:
    """Reads a view of the pool that as_strided made."""
    pool = step["swa_k_cache"]
    again = pool.as_strided(pool.shape, pool.stride(), pool.storage_offset())
    token_gather_decode(**{**step, "swa_k_cache": again})


def sorted_entries(**step: Any) -> None:
    """Reads the entries of each row in ascending order of their slots."""

    def locate(part: PoolRead) -> Slots:
        slots = where_named(part)
        flat = slots.block * part.pool.shape[1] + slots.offset
        order = flat.argsort(dim=1, stable=True)
        return Slots(*(each.gather(1, order) for each in slots))

    gather(step, Pieces(locate=locate))


def entries_reversed(**step: Any) -> None:
    """Reads the entries of each row from the last to the first."""

    def locate(part: PoolRead) -> Slots:
        return Slots(*(each.flip(1) for each in where_named(part)))

    gather(step, Pieces(locate=locate))


def pools_in_other_order(**step: Any) -> None:
    """Attends to the compressed pool before the window's."""
    attention = RunningAttention(step["q"], step["scale"])
    for part in reversed(parts_of(step)):
        slots = where_named(part)
        keys = values_of(rows_named(pool_rows(part, step), slots))
        attention.add(keys, slots.counts)
    attention.finish(step["attn_sink"], step["output"])


class _TwoPasses(RunningAttention):
    """Logits are computed twice: for their maximum, then for their weights."""

    def add(self, keys: torch.Tensor, counts: torch.Tensor) -> None:
        keys.masked_fill_(counts.logical_not().unsqueeze(-1), 0.0)
        torch.bmm(self._q, keys.transpose(1, 2)).amax(dim=-1)
        super().add(keys, counts)


def softmax_in_two_passes(**step: Any) -> None:
    """Computes the logits twice."""
    gather(step, Pieces(attention=_TwoPasses))


class _Einsum(RunningAttention):
    """The products by einsum, and the weights normalised part by part."""

    def add(self, keys: torch.Tensor, counts: torch.Tensor) -> None:
        half = keys.shape[1] // 2
        super().add(keys[:, :half].clone(), counts[:, :half])
        super().add(keys[:, half:].clone(), counts[:, half:])


def keys_in_two_halves(**step: Any) -> None:
    """Attends to the two halves of the keys one after the other."""
    gather(step, Pieces(attention=_Einsum))


def duplicates_found_by_sort(**step: Any) -> None:
    """Finds entries named twice by sorting, without a count on the host."""
    for part in parts_of(step):
        slots = where_named(part)
        flat = slots.block * part.pool.shape[1] + slots.offset
        ordered = flat.sort(dim=1).values
        repeated = ordered[:, 1:] == ordered[:, :-1]
        del repeated
    token_gather_decode(**step)


def rows_by_index_select(**step: Any) -> None:
    """Gathers whole rows by index_select over a flat view of the referenced tokens."""

    def rows(pool: Fp8Rows, slots: Slots) -> Fp8Rows:
        found = pool.at(slots.block.flatten(), slots.offset.flatten())
        shape = slots.block.shape
        return Fp8Rows(
            found.data.view(*shape, -1),
            found.scales.view(*shape, -1),
            pool.nope_head_dim,
            pool.fp8_dtype,
        )

    gather(step, Pieces(rows=rows))


def decoded_in_bf16(**step: Any) -> None:
    """Decodes to bf16, which is exact, and widens after."""

    def values(rows: Fp8Rows) -> torch.Tensor:
        return rows.decode(torch.bfloat16).to(torch.float32)

    gather(step, Pieces(values=values))


def scales_by_exponent(**step: Any) -> None:
    """Makes the scales from their exponents' bits, without torch's e8m0."""

    def values(rows: Fp8Rows) -> torch.Tensor:
        num_scales = rows.nope_head_dim // 64
        bits = rows.scales[..., :num_scales].to(torch.int32) << 23
        scales = bits.view(torch.float32)
        nope = rows.data[..., : rows.nope_head_dim].view(rows.fp8_dtype).to(torch.float32)
        groups = nope.view(*nope.shape[:-1], num_scales, 64) * scales.unsqueeze(-1)
        rope = rows.data[..., rows.nope_head_dim :].view(torch.bfloat16).to(torch.float32)
        return torch.cat([groups.flatten(-2), rope], dim=-1)

    gather(step, Pieces(values=values))


def block_ids_as_int32(**step: Any) -> None:
    """Keeps block numbers in int32 and multiplies them in int64."""

    class Wide(Address):
        """Narrow numbers, wide products."""

        def start(self, block: torch.Tensor) -> torch.Tensor:
            return super().start(block.to(torch.int32).to(torch.int64))

    flat_gather(step, Wide)


def scratch_made_and_dropped(**step: Any) -> None:
    """Makes and drops the same scratch several times."""
    q = step["q"]
    for _ in range(8):
        scratch = torch.zeros(q.shape, dtype=torch.float32, device=q.device)
        del scratch
    token_gather_decode(**step)


def narrower_for_one_request(**step: Any) -> None:
    """Takes the chunked path for one request and the gathering one for more."""
    if step["q"].shape[0] == 1:
        streaming_decode(**step)
    else:
        token_gather_decode(**step)


def sink_as_a_copy(**step: Any) -> None:
    """Works on a copy of the sink."""
    sink = step["attn_sink"]
    token_gather_decode(**{**step, "attn_sink": None if sink is None else sink.clone()})
