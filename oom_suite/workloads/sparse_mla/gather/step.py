"""The inputs of a gather at any size, small ones with contents, and what they must give."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.workloads.sparse_mla.caches import dequantize, paged_pool
from oom_suite.workloads.sparse_mla.caches.pools import block_view
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.step import HEAD_DIM, poisoned_pool
from oom_suite.workloads.sparse_mla.variants import LayoutBytes, fp8_forms, fp8_of
from oom_suite.workloads.variants import IndexVariant, Replay, Variant, Variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from oom_suite.records import Workload

_SIZES = 2.0 ** (torch.arange(HEAD_DIM) // 64 - 3)
"""What keys are multiplied by: each 64 values have a scale that their neighbours have not."""

_FEW_SLOTS = 16
"""The fewest of a creep run on a CPU."""

UNTOUCHED = 7.0
"""What a row holds before; that of padding keeps it."""


def build(sizes: Mapping[str, int], device: torch.device | str) -> dict[str, Any]:
    """The keywords of a gather at these sizes; the cache is uninitialised memory.

    Args:
        sizes: ``num_blocks``, ``block_size`` and ``num_slots``.
        device: where everything lies.

    Returns:
        ``out`` bfloat16 [num_slots, 512]; ``k_cache`` uint8 [num_blocks, block_size, 584];
        ``slot_indices`` int32 [num_slots]; ``block_size``.
    """
    num_slots = sizes["num_slots"]
    last = sizes["num_blocks"] * sizes["block_size"] - 1
    slots = torch.arange(num_slots, dtype=torch.int32, device=device)
    return {
        "out": torch.empty(num_slots, HEAD_DIM, dtype=torch.bfloat16, device=device),
        "k_cache": paged_pool(sizes["num_blocks"], sizes["block_size"], FP8_DS_MLA_V4, device),
        "slot_indices": slots.clamp_(max=last),
        "block_size": sizes["block_size"],
    }


@dataclass(frozen=True, slots=True)
class GatherOptions:
    """What a small gather is like.

    Attributes:
        slots: which, in order; -1 is padding.
        num_blocks: blocks of the cache.
        block_size: tokens of a block.
        padded: whether pages are padded as vLLM lays them out.
        fp8_dtype: the fp8 that the cache holds.
        seed: of its contents.
    """

    slots: tuple[int, ...] = (3, 40, 12, 13, 14, 40, 3)
    num_blocks: int = 8
    block_size: int = 8
    padded: bool = False
    fp8_dtype: torch.dtype = torch.float8_e4m3fn
    seed: int = 0


def small(options: GatherOptions, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The keywords of `build` with random keys in the blocks that are named.

    Every other byte of the cache is poison.
    """
    named = sorted({slot // options.block_size for slot in options.slots if slot >= 0})
    pool = poisoned_pool(
        (options.num_blocks, options.block_size),
        torch.tensor(named, dtype=torch.int64, device=device),
        options.fp8_dtype,
        torch.Generator(device="cpu").manual_seed(options.seed),
        options.padded,
        _SIZES,
    )
    shape = (len(options.slots), HEAD_DIM)
    return {
        "out": torch.full(shape, UNTOUCHED, dtype=torch.bfloat16, device=device),
        "k_cache": pool,
        "slot_indices": torch.tensor(options.slots, dtype=torch.int32, device=device),
        "block_size": options.block_size,
    }


def oracle(step: Mapping[str, Any], fp8_dtype: torch.dtype = torch.float8_e4m3fn) -> torch.Tensor:
    """The rows, float64 [num_slots, 512] on the CPU; those of padding as they were."""
    block_size = step["block_size"]
    slots = step["slot_indices"].cpu().long()
    expected = torch.full((len(slots), HEAD_DIM), UNTOUCHED, dtype=torch.float64)
    is_named = slots >= 0
    named = slots[is_named]
    blocks = block_view(step["k_cache"])[(named // block_size).to(step["k_cache"].device)].cpu()
    values = dequantize(blocks, block_size, FP8_DS_MLA_V4, fp8_dtype)
    rows = values[torch.arange(len(named)), named % block_size]
    expected[is_named] = rows.to(torch.float64)
    return expected


class GatherVariants(Variants):
    """Small gathers: scattered, with padding, and all of a cache."""

    pool_bytes = LayoutBytes()

    def plain(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Variant]:
        """Scattered slots, some twice, in pages of either kind; every row is written."""
        padded = GatherOptions(slots=(9, 62, 30, 9), padded=True, seed=1)
        return [
            _variant("scattered", GatherOptions(), device, arch),
            _variant("padded pages", padded, device, arch),
        ]

    def forms(
        self, call: Callable[..., Any], arch: str
    ) -> Iterator[tuple[Callable[..., Any], str]]:
        """With each fp8."""
        return fp8_forms(call, arch)

    def cycle(self, workload: Workload, *, is_small: bool) -> Sequence[Mapping[str, int]]:
        """Slots that fall and rise; on a CPU, where every row is computed, a few of them."""
        sizes = super().cycle(workload, is_small=is_small)
        fewer = -min(each["num_slots"] for each in sizes) + _FEW_SLOTS if is_small else 0
        return [{**each, "num_slots": each["num_slots"] + fewer} for each in sizes]

    def index_variants(
        self, workload: Workload, device: torch.device, arch: str
    ) -> Sequence[IndexVariant]:
        """Padding alone and between, the last slot of the last block, and no slot at all."""
        kinds = (
            ("-1 alone", True, (-1, -1)),
            ("-1 anywhere", True, (-1, 9, 62, -1, 30, -1)),
            ("last slot", True, (63, 62)),
            ("no slot", False, ()),
        )
        return [
            IndexVariant(name, needed, _variant(name, GatherOptions(slots=slots), device, arch))
            for name, needed, slots in kinds
        ]

    def far(self, workload: Workload, device: torch.device, arch: str) -> Variant:
        """The first token and the last of each of eight blocks of 64."""
        ends = tuple(64 * block + offset for block in range(8) for offset in (0, 63))
        return _variant("ends of blocks", GatherOptions(slots=ends, block_size=64), device, arch)

    def replays(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Replay]:
        """Other slots of a cache with contents everywhere."""
        every = GatherOptions(slots=tuple(range(64)), fp8_dtype=fp8_of(arch))
        first, other = replace(every, seed=1), replace(every, seed=2, slots=every.slots[::-1])
        return [
            Replay(functools.partial(small, first, device), functools.partial(small, other, device))
        ]


VARIANTS = GatherVariants()


def _variant(name: str, options: GatherOptions, device: torch.device, arch: str) -> Variant:
    chosen = replace(options, fp8_dtype=fp8_of(arch))
    return Variant(name, functools.partial(small, chosen, device), {"fp8_dtype": chosen.fp8_dtype})
