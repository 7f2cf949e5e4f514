"""The same few blocks in pools of other shapes: padded, offset, and past 2**31 and 2**32 bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.safety.guarded import POOLS
from oom_suite.workloads.sparse_mla.caches import block_view
from oom_suite.workloads.sparse_mla.caches.pools import sparse_memory
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

BLOCK_SIZE = 64
"""Tokens of a page of vLLM's sliding-window and C4A caches."""

NUM_BLOCKS = 8
"""Blocks of the small pool, each of which is placed somewhere."""

PAGE_BYTES = FP8_DS_MLA_V4.padded_block_bytes(BLOCK_SIZE)
"""37,440. Source: vLLM 0.21.0 `v1/attention/backends/mla/sparse_swa.py:86`."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the blocks of the small pool go.

    Attributes:
        name: for the reader.
        stride_bytes: from one block of the pool to the next.
        num_blocks: blocks of the pool.
        blocks: the pool's block for each block of the small one, ascending.
        offset_bytes: where the pool begins in its storage.
        is_far: whether a block lies past 2**31 bytes, so that a crash is to be expected.
        is_dense: whether the pool has that many blocks, and not only that long a stride.
    """

    name: str
    stride_bytes: int
    num_blocks: int = NUM_BLOCKS
    blocks: tuple[int, ...] = tuple(range(NUM_BLOCKS))
    offset_bytes: int = 0
    is_far: bool = False
    is_dense: bool = False

    @property
    def num_bytes(self) -> int:
        """Bytes of the storage."""
        return self.offset_bytes + self.num_blocks * self.stride_bytes

    def first_byte(self, block: int) -> int:
        """Where that block of the small pool begins, from the pool's first byte."""
        return self.blocks[block] * self.stride_bytes


_OVER_2_31, _OVER_2_32 = 2**31 // PAGE_BYTES, 2**32 // PAGE_BYTES
_DENSE_BLOCKS = 229_376

PLACEMENTS = (
    Placement("padded pages", PAGE_BYTES),
    Placement("a view into a larger buffer", PAGE_BYTES, offset_bytes=3 * PAGE_BYTES),
    Placement("a block stride of several pages", 4 * PAGE_BYTES),
    Placement("an interleaved block stride", 3 * PAGE_BYTES, offset_bytes=PAGE_BYTES),
    Placement("a block stride that passes 2**32 bytes", 20_480 * PAGE_BYTES, is_far=True),
    Placement(
        "a pool past 2**32 bytes",
        PAGE_BYTES,
        _DENSE_BLOCKS,
        (
            0,
            _OVER_2_31 - 1,
            _OVER_2_31,
            _OVER_2_31 + 1,
            _OVER_2_32,
            _OVER_2_32 + 1,
            200_000,
            _DENSE_BLOCKS - 1,
        ),
        is_far=True,
        is_dense=True,
    ),
)
"""All placements, the far ones last.

At 20,480 pages a stride of 0.71 GiB, the fourth block lies past 2**31 bytes and the seventh past
2**32. The dense pool has 8 GiB and 14,680,064 slots, the last of which times 512 elements also
passes 2**32; blocks lie before, across and behind both limits.
"""


def placed(step: Mapping[str, Any], where: Placement, device: torch.device) -> dict[str, Any]:
    """The step with its pools there and its indices pointed to them; `output` is shared.

    Args:
        step: a step over contiguous pools of `NUM_BLOCKS` blocks of `BLOCK_SIZE` tokens.
        where: the placement, for both pools.
        device: where the pools lie.

    Raises:
        LaneError: the device does not have that much memory.
    """
    moved = dict(step)
    for pool, indices, _ in POOLS:
        if step[pool] is None:
            continue
        memory = sparse_memory(where.num_bytes, device)
        token_bytes = FP8_DS_MLA_V4.token_bytes
        far_pool = memory.as_strided(
            (where.num_blocks, BLOCK_SIZE, token_bytes),
            (where.stride_bytes, token_bytes, 1),
            where.offset_bytes,
        )
        small = block_view(step[pool])
        for block, there in enumerate(where.blocks):
            block_view(far_pool)[there].copy_(small[block])
        slots = step[indices].long()
        to = slots.new_tensor(where.blocks)
        there_slots = to[slots.clamp_min(0) // BLOCK_SIZE] * BLOCK_SIZE + slots % BLOCK_SIZE
        moved[pool] = far_pool
        moved[indices] = there_slots.where(slots >= 0, slots).to(step[indices].dtype)
    return moved


def only_block(step: Mapping[str, Any], block: int) -> dict[str, Any]:
    """The step with every entry but those of one block of the small pools made padding."""
    narrowed = dict(step)
    for pool, indices, _ in POOLS:
        if step[pool] is not None:
            slots = step[indices]
            narrowed[indices] = slots.masked_fill(slots // BLOCK_SIZE != block, -1)
    return narrowed
