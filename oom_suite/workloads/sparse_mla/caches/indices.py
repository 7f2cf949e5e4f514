"""Which slots a decode step reads: index tensors of several patterns, and their blocks.

A slot is ``block * block_size + offset``; `-1` is padding. A row's first ``lens`` entries count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from oom_suite.errors import UsageError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST_SLOT = 2**31 - 1
"""Slots are int32. Source: vLLM 0.21.0 `v1/attention/backends/mla/sparse_swa.py`."""


@dataclass(frozen=True, slots=True)
class Indices:
    """What one decode step reads of one pool.

    Attributes:
        slots: int32 [num_tokens, topk].
        lens: int32 [num_tokens], entries of each row that count.
    """

    slots: torch.Tensor
    lens: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Step:
    num_tokens: int
    topk: int
    num_blocks: int
    block_size: int
    generator: torch.Generator

    @property
    def num_slots(self) -> int:
        return self.num_blocks * self.block_size

    def below(self, limit: int, *shape: int) -> torch.Tensor:
        """Random integers from 0 to below `limit`, int64 of this shape, on the CPU."""
        return torch.randint(limit, shape, generator=self.generator)

    def shuffled(self, rows: torch.Tensor) -> torch.Tensor:
        order = torch.rand(rows.shape, generator=self.generator).argsort(dim=-1)
        return rows.gather(-1, order)


def _contiguous(step: _Step) -> torch.Tensor:
    """One run of neighbouring slots a row, each row's behind the one before."""
    first = torch.arange(step.num_tokens)[:, None] * step.topk
    return (first + torch.arange(step.topk)) % step.num_slots


def _scattered(step: _Step) -> torch.Tensor:
    """Distinct slots over the whole pool in random order: one from each of `topk` equal parts."""
    part = torch.arange(step.topk + 1) * step.num_slots // step.topk
    width = (part[1:] - part[:-1]).clamp_min(1)
    within = step.below(step.num_slots, step.num_tokens, step.topk) % width
    return step.shuffled((part[:-1] + within) % step.num_slots)


def _one_token_per_block(step: _Step) -> torch.Tensor:
    """Each entry of a row from a block of its own: the most blocks that a row can name."""
    if step.topk > step.num_blocks:
        msg = (
            f"topk is {step.topk}: one token per block needs topk <= num_blocks, {step.num_blocks}"
        )
        raise UsageError(msg)
    blocks = torch.arange(step.topk) * step.num_blocks // step.topk
    blocks = (blocks + step.below(step.num_blocks, step.num_tokens, 1)) % step.num_blocks
    offsets = step.below(step.block_size, step.num_tokens, step.topk)
    return step.shuffled(blocks * step.block_size + offsets)


def _shared_prefix(step: _Step) -> torch.Tensor:
    """The first half of each row is the same run of slots; the second half is its own."""
    shared = step.topk // 2
    rows = _scattered(step)
    rows[:, :shared] = torch.arange(shared) % step.num_slots
    return rows


PATTERNS: dict[str, Callable[[_Step], torch.Tensor]] = {
    "contiguous": _contiguous,
    "scattered": _scattered,
    "one_token_per_block": _one_token_per_block,
    "shared_prefix": _shared_prefix,
}
"""The index patterns by name; `index_pattern` runs them."""

LENS = ("full", "short", "zero", "mixed")
PADDING = ("none", "tail", "anywhere", "rows")


def index_pattern(
    name: str,
    *,
    num_tokens: int,
    topk: int,
    num_blocks: int,
    block_size: int,
    lens: str = "full",
    padding: str = "none",
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Indices:
    """Index tensors of a named pattern, the same for the same seed on every device.

    Args:
        name: a key of `PATTERNS`.
        num_tokens: rows; 0 is an empty batch.
        topk: entries of a row.
        num_blocks: blocks of the pool.
        block_size: tokens of one block.
        lens: ``full`` (topk), ``short`` (1 to topk), ``zero``, or ``mixed`` (0 to topk, the
            first row 0 and the last topk).
        padding: where `-1` stands: ``none``, ``tail`` (the last quarter), ``anywhere`` (a random
            third), or ``rows`` (every other row entirely, from the first).
        seed: seed of the random patterns.
        device: where the result lies.

    Raises:
        UsageError: an unknown name, slots beyond int32, or topk beyond what the pattern can name.
    """
    if name not in PATTERNS:
        raise unknown("index pattern", name, PATTERNS)
    _check_slots(num_blocks, block_size)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    step = _Step(num_tokens, topk, num_blocks, block_size, generator)
    slots = PATTERNS[name](step)
    slots = slots.masked_fill(_padding(step, padding), -1)
    return Indices(slots.to(device, torch.int32), _lens(step, lens).to(device, torch.int32))


def referenced_blocks(indices: torch.Tensor, lens: torch.Tensor, block_size: int) -> torch.Tensor:
    """The distinct blocks that the indices name, in ascending order.

    Args:
        indices: integer [num_tokens, topk], slots; negative ones are padding.
        lens: integer [num_tokens], entries of each row that count.
        block_size: tokens of one block.

    Returns:
        int64 [num_referenced], on the indices' device.
    """
    counted = torch.arange(indices.shape[1], device=indices.device) < lens[:, None]
    slots = indices[counted & (indices >= 0)].long()
    blocks: torch.Tensor = torch.unique(slots // block_size)
    return blocks


def spread_indices(
    num_tokens: int,
    topk: int,
    num_blocks: int,
    block_size: int,
    referenced_blocks: int,
    device: torch.device | str,
    dtype: torch.dtype = torch.int32,
) -> Indices:
    """Indices that name exactly `referenced_blocks` blocks, spread evenly over the whole pool.

    Made of arithmetic on `device` alone, so that it also works on fake tensors and on sizes that
    are symbols. Every row is full.

    Args:
        num_tokens: rows.
        topk: entries of a row.
        num_blocks: blocks of the pool.
        block_size: tokens of one block.
        referenced_blocks: distinct blocks to name.
        device: where the result lies.
        dtype: integer type of the slots and lens.

    Raises:
        UsageError: more blocks than the pool holds or the entries can name, or slots beyond int32.
    """
    _check_slots(num_blocks, block_size)
    limit = min(num_blocks, num_tokens * topk)
    if not 1 <= referenced_blocks <= limit:
        msg = (
            f"referenced_blocks is {referenced_blocks}: choose 1 to {limit}, "
            "the lesser of num_blocks and num_tokens * topk"
        )
        raise UsageError(msg)
    position = torch.arange(num_tokens * topk, device=device, dtype=torch.int64)
    block = position % referenced_blocks * num_blocks // referenced_blocks
    offset = position // referenced_blocks % block_size
    slots = (block * block_size + offset).reshape(num_tokens, topk)
    lens = torch.full((num_tokens,), topk, dtype=dtype, device=device)
    return Indices(slots.to(dtype), lens)


def _check_slots(num_blocks: int, block_size: int) -> None:
    if num_blocks * block_size > LARGEST_SLOT:
        msg = (
            f"num_blocks {num_blocks} * block_size {block_size} is {num_blocks * block_size} "
            f"slots: int32 indices reach {LARGEST_SLOT}"
        )
        raise UsageError(msg)


def _padding(step: _Step, kind: str) -> torch.Tensor:
    """Where `-1` stands, bool [num_tokens, topk]."""
    if kind not in PADDING:
        raise unknown("padding", kind, PADDING)
    padded = torch.zeros(step.num_tokens, step.topk, dtype=torch.bool)
    if kind == "tail":
        padded[:, step.topk - step.topk // 4 :] = True
    elif kind == "anywhere":
        padded = step.below(3, step.num_tokens, step.topk) == 0
    elif kind == "rows":
        padded[::2] = True
    return padded


def _lens(step: _Step, kind: str) -> torch.Tensor:
    """Entries of each row that count, int64 [num_tokens]."""
    if kind not in LENS:
        raise unknown("lens", kind, LENS)
    lens = torch.full((step.num_tokens,), step.topk)
    if kind == "zero":
        lens.zero_()
    elif kind == "short":
        lens = 1 + step.below(step.topk, step.num_tokens)
    elif kind == "mixed":
        lens = step.below(step.topk + 1, step.num_tokens)
        lens[:1] = 0
        lens[-1:] = step.topk
    return lens
