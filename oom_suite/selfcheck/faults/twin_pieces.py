"""What the healthy twins put in place of a piece of the step: unusual, and right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.selfcheck.faults.addresses import Address
from oom_suite.selfcheck.faults.gather import where_named
from oom_suite.workloads.sparse_mla.builtins.attention import RunningAttention
from oom_suite.workloads.sparse_mla.builtins.rows import Fp8Rows, Slots

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.workloads.sparse_mla.builtins.rows import PoolRead

_BY_TOKEN = ("q", "topk_indices", "topk_lens", "swa_indices", "swa_lens", "output")
"""Arguments with a row for each token."""


def power_of_two(value: int) -> int:
    """The smallest that is no less."""
    return 1 << (value - 1).bit_length() if value > 1 else 1


def some_tokens(step: Mapping[str, Any], rows: Any) -> dict[str, Any]:
    """The step of some of the tokens; views where `rows` is a slice."""
    return {
        name: value[rows] if name in _BY_TOKEN and value is not None else value
        for name, value in step.items()
    }


def slot_numbers(part: PoolRead, slots: Slots) -> torch.Tensor:
    """Each entry's ``block * block_size + offset``, int64 ``[num_tokens, top_k]``."""
    return slots.block * part.pool.shape[1] + slots.offset


def clamped_slots(part: PoolRead) -> Slots:
    """The slots of indices that are clamped first; padding is masked by the original."""
    counts = where_named(part).counts
    named = part.indices.clone().clamp_min_(0).to(torch.int64) * counts
    return Slots(named // part.pool.shape[1], named % part.pool.shape[1], counts)


def sorted_slots(part: PoolRead) -> Slots:
    """The slots of each row in ascending order."""
    slots = where_named(part)
    order = slot_numbers(part, slots).argsort(dim=1, stable=True)
    return Slots(*(each.gather(1, order) for each in slots))


def rows_by_flat_index(pool: Fp8Rows, slots: Slots) -> Fp8Rows:
    """The bytes of the tokens named, gathered by flat lists of blocks and offsets."""
    found = pool.at(slots.block.flatten(), slots.offset.flatten())
    shape = slots.block.shape
    return Fp8Rows(
        found.data.view(*shape, -1),
        found.scales.view(*shape, -1),
        pool.nope_head_dim,
        pool.fp8_dtype,
    )


def values_by_exponent(rows: Fp8Rows) -> torch.Tensor:
    """The values, float32, their scales made from the exponents' bits without torch's e8m0."""
    num_scales = rows.nope_head_dim // 64
    bits = rows.scales[..., :num_scales].to(torch.int32) << 23
    scales = bits.view(torch.float32)
    nope = rows.data[..., : rows.nope_head_dim].view(rows.fp8_dtype).to(torch.float32)
    groups = nope.view(*nope.shape[:-1], num_scales, 64) * scales.unsqueeze(-1)
    rope = rows.data[..., rows.nope_head_dim :].view(torch.bfloat16).to(torch.float32)
    return torch.cat([groups.flatten(-2), rope], dim=-1)


class RowByRow(RunningAttention):
    """The result is written one row after the other."""

    def finish(self, attn_sink: torch.Tensor | None, output: torch.Tensor) -> None:
        """Write ``output``, bf16 ``[num_tokens, num_heads, head_dim]``."""
        result = torch.empty_like(output)
        super().finish(attn_sink, result)
        for token in range(output.shape[0]):
            output[token] = result[token]


class TwoPasses(RunningAttention):
    """Logits are computed twice: for their maximum, then for their weights."""

    def add(self, keys: torch.Tensor, counts: torch.Tensor) -> None:
        """Attend to ``keys``, float32 ``[num_tokens, top_k, head_dim]``, where they count."""
        keys.masked_fill_(counts.logical_not().unsqueeze(-1), 0.0)
        torch.bmm(self._q, keys.transpose(1, 2)).amax(dim=-1)
        super().add(keys, counts)


class KeysInHalves(RunningAttention):
    """The two halves of the keys are attended to one after the other."""

    def add(self, keys: torch.Tensor, counts: torch.Tensor) -> None:
        """Attend to ``keys``, float32 ``[num_tokens, top_k, head_dim]``, where they count."""
        half = keys.shape[1] // 2
        super().add(keys[:, :half].clone(), counts[:, :half])
        super().add(keys[:, half:].clone(), counts[:, half:])


class NarrowNumbers(Address):
    """Block numbers in int32, and their products in int64."""

    def start(self, block: torch.Tensor) -> torch.Tensor:
        """Of the block."""
        return super().start(block.to(torch.int32).to(torch.int64))
