"""The decode step's small steps, for safety detectors: each kind of layer, each kind of index."""

from __future__ import annotations

import functools
import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.workloads.sparse_mla.caches import PATTERNS, spread_indices, write_blocks
from oom_suite.workloads.sparse_mla.caches.unreferenced import referenced_spans, unreferenced
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.geometry.scenarios import SMALL as SMALL_SCENARIO
from oom_suite.workloads.sparse_mla.geometry.scenarios import resize
from oom_suite.workloads.sparse_mla.step import HEAD_DIM, StepOptions, random_step
from oom_suite.workloads.variants import (
    CYCLE,
    IndexVariant,
    PoolBytes,
    Replay,
    Variant,
    Variants,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from oom_suite.records import Workload
    from oom_suite.records.safety import Region

SMALL = StepOptions(num_tokens=3, num_heads=8, swa_topk=16, extra_topk=24, num_blocks=24)
"""Small enough for milliseconds on a CPU, and larger than one of anything."""

_LAYERS = (
    replace(SMALL, layer_kind="c4a", lens="mixed", padding="anywhere", padded=True, seed=1),
    replace(
        SMALL, layer_kind="c128a", pattern="one_token_per_block", lens="short", sink=False, seed=2
    ),
    replace(SMALL, layer_kind="swa_only", pattern="shared_prefix", lens="mixed", seed=3),
)

_LAST_SLOT = {"pattern": "contiguous", "swa_topk": 16, "extra_topk": 16, "num_blocks": 6}
"""Three rows of sixteen slots are all of a pool of six blocks of eight."""

_INDICES: tuple[tuple[str, bool, dict[str, Any]], ...] = (
    ("-1 anywhere", True, {"padding": "anywhere"}),
    ("-1 in whole rows", True, {"padding": "rows"}),
    ("lens zero", True, {"lens": "zero"}),
    ("lens zero without sink", True, {"lens": "zero", "sink": False}),
    ("lens from zero to all", True, {"lens": "mixed", "padding": "tail"}),
    ("last slot of the last block", True, _LAST_SLOT),
    ("empty batch", False, {"num_tokens": 0}),
)

_SERVED: dict[str, Any] = {
    "num_heads": 8,
    "swa_topk": 128,
    "extra_topk": 512,
    "num_blocks": 16,
    "block_size": 64,
}
"""DeepSeek-V4-Flash's own widths: a GPU's kernels may be built for them."""

_ON_CPU: dict[str, Any] = {
    "num_heads": 2,
    "swa_topk": 8,
    "extra_topk": 16,
    "num_blocks": 8,
    "block_size": 4,
}
"""On the CPU only what Python decides of a capture is looked at."""

BATCHES = (4, 1)
"""The batches that are captured: code may take another way for a batch of one."""

_CYCLE = (64, 48, 24, 8, 1, 32)
"""Batches of a creep run's cycle: they fall and rise, and the largest comes first."""
_SMALL_CYCLE = (6, 4, 3, 2, 1, 5)
_CREEP_BLOCKS, _SMALL_CREEP_BLOCKS = 4096, 64
_CREEP_SWA_TOPK, _CREEP_EXTRA_TOPK = 64, 128
_NUM_GROWING, _GROWTH = 16, 32
_NUM_CONTENTS = 4

_MOST_BLOCKS = 1024
"""Blocks that are given contents at a scenario's sizes."""

FAR_BLOCK_SIZE, FAR_NUM_BLOCKS = 64, 8
"""Tokens of a page of vLLM's sliding-window and C4A caches; blocks of a pool that is moved."""


class LayoutBytes(PoolBytes):
    """The bytes of a pool whose blocks hold the data of all tokens, then their scales."""

    def unreferenced(
        self, name: str, pool: torch.Tensor, slots: Collection[int]
    ) -> tuple[Region, ...]:
        """Tokens, scales, the pad byte behind a token's scales, and page padding."""
        return unreferenced(name, pool, slots, FP8_DS_MLA_V4)

    def referenced_spans(
        self, pool: torch.Tensor, slots: Collection[int]
    ) -> tuple[tuple[int, int], ...]:
        """Data and scales of the tokens."""
        return referenced_spans(pool, slots, FP8_DS_MLA_V4)

    def place(self, pool: torch.Tensor, byte: int) -> tuple[int | None, int | None]:
        """By the data, then by the scales behind it."""
        block, within = divmod(byte, pool.stride(0))
        data_bytes = pool.shape[1] * FP8_DS_MLA_V4.token_stride_bytes
        if within < data_bytes:
            return block, within // FP8_DS_MLA_V4.token_stride_bytes
        slot = (within - data_bytes) // FP8_DS_MLA_V4.scales_bytes
        return block, slot if slot < pool.shape[1] else None

    def page_bytes(self, pool: torch.Tensor) -> int:
        """Padded, as vLLM lays pages out.

        Source: vLLM 0.21.0 `v1/attention/backends/mla/sparse_swa.py:86`.
        """
        return FP8_DS_MLA_V4.padded_block_bytes(pool.shape[1])


def fp8_of(arch: str) -> torch.dtype:
    """The fp8 of a cache that this architecture serves: MI300 has its own."""
    return torch.float8_e4m3fnuz if arch == "gfx942" else torch.float8_e4m3fn


def fp8_forms(call: Callable[..., Any], arch: str) -> Iterator[tuple[Callable[..., Any], str]]:
    """The call with each fp8 that it can be told to read, where it takes ``fp8_dtype``."""
    try:
        takes = "fp8_dtype" in inspect.signature(call).parameters
    except (TypeError, ValueError):
        takes = False
    if not takes:
        yield call, arch
        return
    for one in ("generic", "gfx942"):
        yield functools.partial(call, fp8_dtype=fp8_of(one)), one


class DecodeVariants(Variants):
    """The steps of `decode`, and of `decode-swa`, which has the sliding window's pool alone."""

    pool_bytes = LayoutBytes()

    def plain(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Variant]:
        """Each kind of layer of the workload once."""
        wanted = _LAYERS if len(workload.pools) > 1 else _LAYERS[-1:]
        return [_variant(options, device, arch) for options in wanted]

    def thorough(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Variant]:
        """Each kind of layer with each pattern of indices."""
        wanted = _LAYERS if len(workload.pools) > 1 else _LAYERS[-1:]
        return [
            _variant(replace(options, pattern=pattern), device, arch)
            for options in wanted
            for pattern in PATTERNS
        ]

    def forms(
        self, call: Callable[..., Any], arch: str
    ) -> Iterator[tuple[Callable[..., Any], str]]:
        """With each fp8."""
        return fp8_forms(call, arch)

    def for_indices(self, workload: Workload, device: torch.device, arch: str) -> Variant:
        """A step in which every entry counts."""
        return _variant(_single(workload, seed=5), device, arch)

    def index_variants(
        self, workload: Workload, device: torch.device, arch: str
    ) -> Sequence[IndexVariant]:
        """Padding and lengths of every kind, the last slot, and no request at all."""
        options = _single(workload, seed=5)
        return [
            IndexVariant(name, is_required, _variant(replace(options, **changes), device, arch))
            for name, is_required, changes in _INDICES
        ]

    def far(self, workload: Workload, device: torch.device, arch: str) -> Variant:
        """A step over all of eight contiguous blocks."""
        options = replace(
            _single(workload, seed=11),
            pattern="contiguous",
            swa_topk=160,
            extra_topk=168,
            num_blocks=FAR_NUM_BLOCKS,
            block_size=FAR_BLOCK_SIZE,
        )
        return _variant(options, device, arch)

    def replays(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Replay]:
        """Two batches, with contents in every block."""
        return [
            Replay(
                functools.partial(_filled, workload, device, arch, batch, seed=1, lens="short"),
                functools.partial(_filled, workload, device, arch, batch, seed=2, lens="mixed"),
            )
            for batch in BATCHES
        ]

    def titles(self) -> Mapping[str, str]:
        """In words."""
        return {"q": "queries", "attn_sink": "attention sink"}

    def at_sizes(
        self, workload: Workload, sizes: Mapping[str, int], device: torch.device
    ) -> Variant | None:
        """With at most 1,024 blocks a pool."""
        options = replace(
            _single(workload, seed=0),
            lens="mixed",
            padding="tail",
            num_tokens=sizes["num_tokens"],
            num_heads=sizes["num_heads"],
            swa_topk=sizes["swa_topk"],
            extra_topk=sizes["extra_topk"],
            num_blocks=min(sizes["swa_num_blocks"], _MOST_BLOCKS),
            block_size=sizes["block_size"],
        )
        return _variant(options, device, "generic")

    def captured_sizes(self, workload: Workload) -> Sequence[Mapping[str, int]]:
        """Two batches of the small scenario."""
        return [resize(SMALL_SCENARIO.sizes, {"num_tokens": batch}) for batch in BATCHES]

    def cycle(self, workload: Workload, *, is_small: bool) -> Sequence[Mapping[str, int]]:
        """Batches that fall and rise."""
        batches = _SMALL_CYCLE if is_small else _CYCLE
        return [_creep_sizes(batch, _CREEP_EXTRA_TOPK, is_small=is_small) for batch in batches]

    def longer(self, workload: Workload, *, is_small: bool) -> Sequence[Mapping[str, int]]:
        """Rows of the compressed pool that get longer; a sliding window's width is fixed."""
        batches = _SMALL_CYCLE if is_small else _CYCLE
        num_steps = _NUM_GROWING if len(workload.pools) > 1 else 0
        return [
            _creep_sizes(
                batches[number % CYCLE],
                _CREEP_EXTRA_TOPK + _GROWTH * (number + 1),
                is_small=is_small,
            )
            for number in range(num_steps)
        ]

    def contents(
        self, workload: Workload, sizes: Mapping[str, int], number: int
    ) -> Mapping[str, torch.Tensor]:
        """Block tables reshuffled, and lengths that grow."""
        found = {}
        for pool, topk in zip(workload.pools, ("swa_topk", "extra_topk"), strict=False):
            made = _spread_once(
                sizes["num_tokens"],
                sizes[topk],
                sizes["swa_num_blocks"],
                sizes["block_size"],
                max(1, sizes["referenced_blocks"] - number),
                "cpu",
            )
            found[pool.indices] = made.slots.flip(1)
            found[pool.lens] = made.lens - (_NUM_CONTENTS - 1 - number)
        return found


# Every subject of a process is called with the same contents.
_spread_once = functools.cache(spread_indices)

VARIANTS = DecodeVariants()


def _single(workload: Workload, seed: int) -> StepOptions:
    """A step of one kind of layer: that with all the pools of the workload."""
    return replace(SMALL, layer_kind="c4a" if len(workload.pools) > 1 else "swa_only", seed=seed)


def _variant(options: StepOptions, device: torch.device, arch: str) -> Variant:
    chosen = replace(options, fp8_dtype=fp8_of(arch))
    fp8 = str(chosen.fp8_dtype).removeprefix("torch.")
    return Variant(
        f"{chosen.layer_kind}/{chosen.pattern}/{fp8}",
        functools.partial(random_step, chosen, device),
        {"fp8_dtype": chosen.fp8_dtype},
    )


def _filled(
    workload: Workload, device: torch.device, arch: str, batch: int, *, seed: int, lens: str
) -> dict[str, Any]:
    """A step with real contents in every block."""
    options = replace(
        _single(workload, seed),
        lens=lens,
        num_tokens=batch,
        fp8_dtype=fp8_of(arch),
        **(_ON_CPU if device.type == "cpu" else _SERVED),
    )
    step = random_step(options, device)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    for pool in workload.pools:
        num_blocks, block_size, _ = step[pool.name].shape
        keys = torch.randn((num_blocks, block_size, HEAD_DIM), generator=generator).to(device)
        blocks = torch.arange(num_blocks, device=device)
        write_blocks(step[pool.name], blocks, keys, FP8_DS_MLA_V4, options.fp8_dtype)
    return step


def _creep_sizes(batch: int, extra_topk: int, *, is_small: bool) -> dict[str, int]:
    num_blocks = _SMALL_CREEP_BLOCKS if is_small else _CREEP_BLOCKS
    wanted = {
        "num_blocks": num_blocks,
        "num_tokens": batch,
        "swa_topk": _CREEP_SWA_TOPK,
        "extra_topk": extra_topk,
    }
    return resize(SMALL_SCENARIO.sizes, wanted)
