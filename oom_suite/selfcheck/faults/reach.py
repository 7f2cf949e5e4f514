"""Steps that read memory they were not named, or write memory that is not theirs to write.

What is read too much takes part with a weight of zero, as masked lanes of a tile do: the answer
stays right as long as no NaN lies there. Where a NaN would be laundered, it sets the softmax's
shift, which cancels out of the answer as long as nothing huge lies there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.selfcheck.faults.declare import mutant
from oom_suite.selfcheck.faults.gather import (
    Pieces,
    gather,
    parts_of,
    pool_rows,
    rows_named,
    values_of,
    where_named,
)
from oom_suite.workloads.sparse_mla.builtins import token_gather_decode
from oom_suite.workloads.sparse_mla.builtins.attention import RunningAttention
from oom_suite.workloads.sparse_mla.builtins.rows import Slots

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.workloads.sparse_mla.builtins.rows import Fp8Rows, PoolRead

_TOKEN, _BLOCK = "reads-unreferenced-token", "reads-unreferenced-block"
_TILE = 4


def _beside(others: Callable[[Fp8Rows, Slots], torch.Tensor]) -> Pieces:
    """Pieces of a step that reads other tokens too and gives them a weight of zero."""

    def rows(pool: Fp8Rows, slots: Slots) -> Any:
        keys = values_of(rows_named(pool, slots))
        return keys.add_(others(pool, slots).mul_(0.0))

    return Pieces(rows=rows, values=lambda found: found)  # type: ignore[arg-type, return-value] # decoded already


def _at(pool: Fp8Rows, block: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    return pool.at(block, offset).decode(torch.float32)


@mutant("reads", _TOKEN)
def next_token(**step: Any) -> None:
    """Reads the token behind each one named."""

    def others(pool: Fp8Rows, slots: Slots) -> torch.Tensor:
        block_size = pool.data.shape[1]
        return _at(pool, slots.block, (slots.offset + 1).clamp_max_(block_size - 1))

    gather(step, _beside(others))


@mutant("reads", _TOKEN)
def token_before(**step: Any) -> None:
    """Reads the token before each one named."""
    gather(
        step,
        _beside(lambda pool, slots: _at(pool, slots.block, (slots.offset - 1).clamp_min_(0))),
    )


@mutant("reads", _TOKEN)
def whole_tile(**step: Any) -> None:
    """Reads the four tokens of the tile that each one named lies in."""

    def others(pool: Fp8Rows, slots: Slots) -> torch.Tensor:
        block_size = pool.data.shape[1]
        first = slots.offset - slots.offset % _TILE
        tile = [
            _at(pool, slots.block, (first + lane).clamp_max_(block_size - 1))
            for lane in range(_TILE)
        ]
        return torch.stack(tile).sum(dim=0)

    gather(step, _beside(others))


@mutant("reads", _BLOCK, _TOKEN, about_two_pools=True)
def next_block(**step: Any) -> None:
    """Reads the same token of the next block."""

    def others(pool: Fp8Rows, slots: Slots) -> torch.Tensor:
        last = pool.data.shape[0] - 1
        return _at(pool, (slots.block + 1).clamp_max_(last), slots.offset)

    gather(step, _beside(others))


@mutant("reads", _TOKEN)
def whole_block(**step: Any) -> None:
    """Reads every token of the blocks named."""
    gather(step, _beside(lambda pool, slots: pool.at(slots.block).decode(torch.float32).sum(dim=2)))


class _Unmasked(RunningAttention):
    """Keys that do not count keep their values, with a weight of zero."""

    def add(self, keys: torch.Tensor, counts: torch.Tensor) -> None:
        ignored = keys.masked_fill(counts.unsqueeze(-1), 0.0)
        super().add(keys, counts)
        self._weighted.add_(ignored.sum(dim=1, keepdim=True).mul_(0.0))


@mutant("reads", _BLOCK, _TOKEN)
def behind_lens(**step: Any) -> None:
    """Reads the entries that stand behind the row's length."""

    def locate(part: PoolRead) -> Slots:
        slots = where_named(part)
        named = part.indices.to(torch.int64).clamp_min(0)
        block_size = part.pool.shape[1]
        return Slots(named // block_size, named % block_size, slots.counts)

    gather(step, Pieces(locate=locate, attention=_Unmasked))


@mutant("reads", _BLOCK, _TOKEN, about_two_pools=True)
def padding_wraps_around(**step: Any) -> None:
    """Reads for `-1` what Python says it means: the last token of the pool."""

    def locate(part: PoolRead) -> Slots:
        slots = where_named(part)
        last = part.pool.shape[0] * part.pool.shape[1] - 1
        named = part.indices.to(torch.int64)
        named = torch.where(named < 0, last, slots.block * part.pool.shape[1] + slots.offset)
        return Slots(named // part.pool.shape[1], named % part.pool.shape[1], slots.counts)

    gather(step, Pieces(locate=locate, attention=_Unmasked))


@mutant("reads", "reads-pad-byte")
def scale_padding(**step: Any) -> None:
    """Reads the padding byte behind a token's seven scales."""

    def others(pool: Fp8Rows, slots: Slots) -> torch.Tensor:
        scales = pool.scales[slots.block, slots.offset]
        return scales[..., 7:].view(torch.float8_e8m0fnu).to(torch.float32)

    gather(step, _beside(others))


@mutant("reads", _BLOCK, _TOKEN, about_two_pools=True)
def last_block_always(**step: Any) -> None:
    """Reads the last block of the pool whatever is named, as a grid rounded up does."""

    def others(pool: Fp8Rows, slots: Slots) -> torch.Tensor:
        last = torch.full_like(slots.block, pool.data.shape[0] - 1)
        return _at(pool, last, slots.offset)

    gather(step, _beside(others))


@mutant("reads", _BLOCK, _TOKEN)
def neighbours_laundered(**step: Any) -> None:
    """Lets the whole block set the softmax's shift, its NaN replaced by zero."""

    class Shifted(RunningAttention):
        """The shift comes from tokens that nobody named, too."""

        others: torch.Tensor

        def add(self, keys: torch.Tensor, counts: torch.Tensor) -> None:
            logits = torch.einsum("thd,tkd->thk", self._q, self.others)
            raised = torch.maximum(self._largest, logits.amax(dim=-1))
            keep = torch.exp(self._largest - raised)
            self._sum.mul_(keep)
            self._weighted.mul_(keep.unsqueeze(-1))
            self._largest = raised
            super().add(keys, counts)

    def rows(pool: Fp8Rows, slots: Slots) -> Fp8Rows:
        whole = pool.at(slots.block).decode(torch.float32)
        Shifted.others = torch.where(whole.isnan(), 0.0, whole).flatten(1, 2)
        return rows_named(pool, slots)

    gather(step, Pieces(rows=rows, attention=Shifted))


@mutant("reads", "reads-uninitialised-memory")
def unwritten_scratch(**step: Any) -> None:
    """Adds a scratch buffer that nobody wrote, with a weight of zero."""

    def others(pool: Fp8Rows, slots: Slots) -> torch.Tensor:
        width = (*slots.block.shape, 512)
        return torch.empty(width, dtype=torch.float32, device=pool.data.device)

    gather(step, _beside(others))


def _decoded(step: dict[str, Any]) -> torch.Tensor:
    """The right result, in a tensor of its own."""
    result = torch.empty_like(step["output"])
    token_gather_decode(**{**step, "output": result})
    return result


@mutant("writes", "leaves-output-unwritten")
def empty_row_unwritten(**step: Any) -> None:
    """Leaves the rows without any counting entry as they were."""
    output, result = step["output"], _decoded(step)
    counts = torch.zeros(output.shape[0], dtype=torch.bool, device=output.device)
    for part in parts_of(step):
        counts |= where_named(part).counts.any(dim=1)
    output.copy_(torch.where(counts[:, None, None], result, output))


@mutant("writes", "leaves-output-unwritten")
def last_row_unwritten(**step: Any) -> None:
    """Leaves the last row as it was."""
    result = _decoded(step)
    step["output"][:-1].copy_(result[:-1])


@mutant("writes", "leaves-output-unwritten")
def last_value_unwritten(**step: Any) -> None:
    """Leaves the last value of each row as it was."""
    result = _decoded(step)
    step["output"][..., :-1].copy_(result[..., :-1])


def _stored(output: torch.Tensor, first: int, num_values: int) -> None:
    """Writes values before or behind the output, wherever memory is there, as a kernel would."""
    start = output.storage_offset() + first
    num_held = output.untyped_storage().nbytes() // output.element_size()
    if start >= 0 and start + num_values <= num_held:
        output.as_strided((num_values,), (1,), start).zero_()


@mutant("writes", "writes-outside")
def one_value_past_output(**step: Any) -> None:
    """Writes one value behind the end of the output."""
    token_gather_decode(**step)
    _stored(step["output"], step["output"].numel(), 1)


@mutant("writes", "writes-outside")
def one_row_past_output(**step: Any) -> None:
    """Writes a row behind the end of the output, as a grid rounded up does."""
    token_gather_decode(**step)
    _stored(step["output"], step["output"].numel(), step["output"].shape[-1])


@mutant("writes", "writes-outside")
def one_value_before_output(**step: Any) -> None:
    """Writes one value before the start of the output."""
    token_gather_decode(**step)
    _stored(step["output"], -1, 1)


@mutant("writes", "writes-cache")
def scale_normalised(**step: Any) -> None:
    """Writes into the cache: the padding byte of the first token's scales becomes zero."""
    part = parts_of(step)[0]
    pool_rows(part, step).scales[0, 0, 7:].zero_()
    token_gather_decode(**step)


@mutant("writes", "writes-cache")
def padding_writes_block_zero(**step: Any) -> None:
    """Writes into the cache: block 0 gets a mark for what padding points at."""
    step["swa_k_cache"][0, 0, :1].zero_()
    token_gather_decode(**step)


@mutant("writes", "writes-cache")
def cache_marked_as_read(**step: Any) -> None:
    """Writes into the cache: the tokens named lose their scales' padding byte."""
    for part in parts_of(step):
        slots = where_named(part)
        pool_rows(part, step).scales[slots.block, slots.offset, 7] = 0x11
    token_gather_decode(**step)


@mutant("writes", "writes-input")
def indices_clamped_in_place(**step: Any) -> None:
    """Writes into the indices: `-1` becomes 0, after the lengths have been shortened for it."""
    token_gather_decode(**step)
    step["swa_indices"].clamp_min_(0)


@mutant("writes", "writes-input")
def lens_in_place(**step: Any) -> None:
    """Writes into the lens: they are what was left to read, zero at the end."""
    token_gather_decode(**step)
    step["swa_lens"].zero_()


@mutant("writes", "writes-input")
def query_scaled_in_place(**step: Any) -> None:
    """Writes into the queries: they are scaled by a power of two where they lie."""
    step["q"].mul_(0.5)
    token_gather_decode(**{**step, "scale": step["scale"] * 2.0})


@mutant("writes", "writes-input")
def sink_in_place(**step: Any) -> None:
    """Writes into the sink: it is left as its exponential."""
    token_gather_decode(**step)
    if step["attn_sink"] is not None:
        step["attn_sink"].exp_()
