"""The same few blocks in pools of other shapes: padded, offset, and past 2**31 and 2**32 bytes."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import LaneError
from oom_suite.safety.poison import pools_of
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from oom_suite.records.workload import Pool
    from oom_suite.workloads.variants import PoolBytes

_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
"""Source: Linux ``include/uapi/asm-generic/mman-common.h``; Python names it from 3.13 on."""

_DENSE_BYTES = 1 << 33
_WHOLE_BLOCKS = 1 << 14
_LONG_BYTES = 20_480 * 37_440
"""0.71 GiB: of eight blocks the fourth lies past 2**31 bytes and the seventh past 2**32."""
_MAX_SLOT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the blocks of a small pool go.

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
    num_blocks: int
    blocks: tuple[int, ...]
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


def placements(num_blocks: int, block_size: int, page_bytes: int) -> tuple[Placement, ...]:
    """All placements of a small pool, the far ones last.

    The long stride passes 2**32 bytes before the last block. The pool that is dense has 8 GiB, or
    as many slots as int32 can name; blocks lie before, across and behind both limits.

    Args:
        num_blocks: blocks of the small pool.
        block_size: tokens of a block.
        page_bytes: from one block to the next, as a server lays them out.
    """
    near = tuple(range(num_blocks))
    long_stride = max(_LONG_BYTES, 2**32 // max(1, num_blocks - 1)) // page_bytes * page_bytes
    found = [
        Placement("padded pages", page_bytes, num_blocks, near),
        Placement("a view into a larger buffer", page_bytes, num_blocks, near, 3 * page_bytes),
        Placement("a block stride of several pages", 4 * page_bytes, num_blocks, near),
        Placement("an interleaved block stride", 3 * page_bytes, num_blocks, near, page_bytes),
        Placement(
            "a block stride that passes 2**32 bytes", long_stride, num_blocks, near, is_far=True
        ),
    ]
    most = min(_DENSE_BYTES // page_bytes, _MAX_SLOT // block_size)
    num_dense = max(most // _WHOLE_BLOCKS * _WHOLE_BLOCKS, num_blocks)
    there = _spread(num_blocks, num_dense, page_bytes)
    dense = Placement(
        "a pool past 2**32 bytes", page_bytes, num_dense, there, is_far=True, is_dense=True
    )
    return (*found, dense)


def _spread(num_blocks: int, num_dense: int, page_bytes: int) -> tuple[int, ...]:
    """Blocks of a dense pool: about both limits first, the ends, then any others."""
    over_2_31, over_2_32 = 2**31 // page_bytes, 2**32 // page_bytes
    wanted = [num_dense - 1, over_2_32 + 1, over_2_31, 0, over_2_32, over_2_31 - 1, over_2_31 + 1]
    chosen = {block for block in dict.fromkeys(wanted) if 0 <= block < num_dense}
    chosen = set([block for block in dict.fromkeys(wanted) if block in chosen][:num_blocks])
    step = max(1, num_dense // (num_blocks + 1))
    others = (block for block in range(num_dense - 1, -1, -step) if block not in chosen)
    while len(chosen) < num_blocks:
        chosen.add(next(others))
    return tuple(sorted(chosen))


def placed(
    step: Mapping[str, Any], pools: Collection[Pool], where: Placement, device: torch.device
) -> dict[str, Any]:
    """The step with its pools there and its indices pointed to them; other tensors are shared.

    Raises:
        LaneError: the device does not have that much memory.
    """
    moved = dict(step)
    for pool in pools_of(pools, step):
        small = step[pool.name]
        size, block_size = small.element_size(), small.shape[1]
        far = (
            sparse_memory(where.num_bytes, device)
            .view(small.dtype)
            .as_strided(
                (where.num_blocks, *small.shape[1:]),
                (where.stride_bytes // size, *small.stride()[1:]),
                where.offset_bytes // size,
            )
        )
        for block, there in enumerate(where.blocks):
            far[there].copy_(small[block])
        indices = step[pool.indices]
        to, known = indices.new_tensor(where.blocks).long(), indices.long().clamp_min(0)
        if pool.names == "blocks":
            there_indices = to[known]
        else:
            there_indices = to[known // block_size] * block_size + known % block_size
        moved[pool.name] = far
        moved[pool.indices] = there_indices.where(indices >= 0, indices.long()).to(indices.dtype)
    return moved


def only_block(step: Mapping[str, Any], pools: Collection[Pool], block: int) -> dict[str, Any]:
    """The step with every entry but those of one block of its pools made padding."""
    narrowed = dict(step)
    for pool in pools_of(pools, step):
        indices = step[pool.indices]
        by = 1 if pool.names == "blocks" else step[pool.name].shape[1]
        narrowed[pool.indices] = indices.masked_fill(indices // by != block, -1)
    return narrowed


def page_bytes_of(step: Mapping[str, Any], pools: Collection[Pool], pool_bytes: PoolBytes) -> int:
    """A page that holds a block of any of the pools."""
    return max(pool_bytes.page_bytes(step[pool.name]) for pool in pools_of(pools, step))


def sparse_memory(num_bytes: int, device: torch.device) -> torch.Tensor:
    """Memory of which, on a CPU, only the pages that are written become resident.

    On a GPU it is memory like any other.

    Args:
        num_bytes: how much; far more than the machine has may be asked for on a CPU.
        device: where it lies.

    Returns:
        uint8 [num_bytes]; zeros on a CPU.

    Raises:
        LaneError: the system gives no such address space, or the GPU has not that much.
    """
    try:
        if device.type != "cpu":
            return torch.empty(num_bytes, dtype=torch.uint8, device=device)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
        return torch.frombuffer(mmap.mmap(-1, num_bytes, flags=flags), dtype=torch.uint8)
    except (OSError, ValueError, torch.OutOfMemoryError) as error:
        first_line = str(error).splitlines()[0]
        msg = f"no {format_bytes(num_bytes)} to place a pool in: {first_line}"
        raise LaneError(msg) from error
