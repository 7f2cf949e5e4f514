"""What is put where nothing may be read, and which slots of a pool a step names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from oom_suite.records.workload import Pool


@dataclass(frozen=True, slots=True)
class Poison:
    """A byte to fill memory with that must not be read.

    Attributes:
        name: for hits.
        byte: the byte; what it stands for in each format is its choice's reason.
        integer: what integers of more than one byte get, which are sizes and indices: any byte
            repeated would send a reader far away.
    """

    name: str
    byte: int
    integer: int


NAN = Poison("NaN", 0xFF, 1)
"""NaN as e4m3fn, as ue8m0 and, twice, as bf16; -240 as e4m3fnuz, whose scale is NaN then."""

LARGE = Poison("large finite", 0x7E, 2)
"""448 as e4m3fn, 224 as e4m3fnuz, a half as ue8m0, 8.4e37 as bf16: no NaN test finds it."""

ZERO = Poison("zero", 0x00, 0)
"""What fresh memory of an operating system holds."""

POISONS = (NAN, LARGE, ZERO)


def pools_of(pools: Collection[Pool], step: Mapping[str, Any]) -> tuple[Pool, ...]:
    """Those of the pools that the step has."""
    return tuple(pool for pool in pools if step.get(pool.name) is not None)


def named_slots(pool: Pool, step: Mapping[str, Any]) -> frozenset[int]:
    """The slots of a pool that a step's counting entries name."""
    rows, block_size = _rows(pool, step).long(), step[pool.name].shape[1]
    if pool.names == "blocks":
        within = torch.arange(block_size, device=rows.device)
        slots = rows[:, :, None] * block_size + within
        rows = slots.where(rows[:, :, None] >= 0, -1).flatten(1)
    counted = rows >= 0
    if pool.lens:
        lens = step[pool.lens].reshape(len(rows), 1)
        counted &= torch.arange(rows.shape[1], device=rows.device) < lens
    return frozenset(rows[counted].tolist())


def _rows(pool: Pool, step: Mapping[str, Any]) -> torch.Tensor:
    """The indices as [rows, entries]; a plain list of them is rows of one."""
    indices: torch.Tensor = step[pool.indices]
    return indices.unsqueeze(1) if indices.dim() == 1 else indices.flatten(1)


def num_names(pool: Pool, step: Mapping[str, Any]) -> int:
    """How many different indices name something of the pool: its slots, or its blocks."""
    num_blocks, block_size = step[pool.name].shape[:2]
    return int(num_blocks * block_size if pool.names == "slots" else num_blocks)


def width(pool: Pool, step: Mapping[str, Any]) -> int:
    """How many slots a row of the pool's indices names at most."""
    entries = int(_rows(pool, step).shape[1])
    return entries if pool.names == "slots" else entries * int(step[pool.name].shape[1])


def distance_bytes(first_byte: int, num_bytes: int, spans: Collection[tuple[int, int]]) -> int:
    """How far the run of bytes is from the nearest span; 1 when it touches it, 0 inside it."""
    end = first_byte + num_bytes
    gaps = (max(start - end, first_byte - stop) + 1 for start, stop in spans)
    return max(0, min(gaps, default=0))
