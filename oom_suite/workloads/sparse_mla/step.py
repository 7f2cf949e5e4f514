"""One sparse decode step of DeepSeek-V4 over paged caches: its call, its contents, its answer.

`build` makes the call at any size without contents, for the lanes that look at memory alone.
`random_step` makes a small one with real contents, `oracle` says what it must give, and
`tolerance` how far from that a correct bf16 result may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import unknown
from oom_suite.workloads.sparse_mla.caches import (
    block_view,
    dequantize,
    index_pattern,
    paged_pool,
    referenced_blocks,
    spread_indices,
    write_blocks,
)
from oom_suite.workloads.sparse_mla.exact_attention import attention, rounding
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.workloads.sparse_mla.caches import Indices

HEAD_DIM = FP8_DS_MLA_V4.head_dim
SCALE = HEAD_DIM**-0.5

LAYER_KINDS = ("swa_only", "c4a", "c128a")
C128A_BLOCK_SIZE = 2
"""Entries of a block at ratio 128. Source: vLLM 0.21.0 `v1/kv_cache_interface.py:337`."""

POISON = 0xFF
"""NaN as e4m3fn, as ue8m0 and, twice, as bf16: what must not be read shows when it is."""


def build(sizes: Mapping[str, int], device: torch.device | str) -> dict[str, Any]:
    """The keyword arguments of vLLM 0.21.0's decode fallback at these sizes.

    The caches are uninitialised memory, so that a production pool costs nothing on the CPU; the
    result of a call is meaningless. Works on fake tensors too.

    Args:
        sizes: a value for each axis of `oom_suite.workloads.sparse_mla.geometry.AXES`.
        device: where everything lies.

    Returns:
        ``q`` and ``output`` bfloat16 [num_tokens, num_heads, 512]; ``kv_cache`` and
        ``swa_k_cache`` uint8 [num_blocks, block_size, 584], contiguous; ``topk_indices`` int32
        [num_tokens, 1, extra_topk]; ``swa_indices`` int32 [num_tokens, swa_topk];
        ``topk_lens`` and ``swa_lens`` int32 [num_tokens]; ``attn_sink`` float32 [num_heads];
        ``swa_only`` False; ``scale``; ``head_dim``, ``nope_head_dim``, ``rope_head_dim``.

    Raises:
        UsageError: more referenced blocks than possible, or slots beyond int32.

    Source: vLLM 0.21.0 `v1/attention/ops/rocm_aiter_mla_sparse.py:1086`.
    """
    swa, extra = _spread(sizes, "swa", device), _spread(sizes, "extra", device)
    return {
        "q": torch.zeros(_shape(sizes), dtype=torch.bfloat16, device=device),
        "kv_cache": _pool(sizes, "extra", device),
        "swa_k_cache": _pool(sizes, "swa", device),
        "swa_only": False,
        "topk_indices": extra.slots.unsqueeze(1),
        "topk_lens": extra.lens,
        **_rest(sizes, swa, device),
    }


def build_swa_only(sizes: Mapping[str, int], device: torch.device | str) -> dict[str, Any]:
    """The same call for a layer that has a sliding-window cache alone.

    Args:
        sizes: as for `build`; the compressed pool's are not used.
        device: where everything lies.

    Raises:
        UsageError: as `build`.
    """
    swa = _spread(sizes, "swa", device)
    return {
        "q": torch.zeros(_shape(sizes), dtype=torch.bfloat16, device=device),
        "kv_cache": None,
        "swa_k_cache": _pool(sizes, "swa", device),
        "swa_only": True,
        "topk_indices": None,
        "topk_lens": None,
        **_rest(sizes, swa, device),
    }


@dataclass(frozen=True, slots=True)
class StepOptions:
    """What a random step is like.

    Attributes:
        layer_kind: ``swa_only``, ``c4a`` or ``c128a`` (the compressed pool has blocks of 2).
        pattern: a name in `oom_suite.workloads.sparse_mla.caches.PATTERNS`.
        lens: see `oom_suite.workloads.sparse_mla.caches.index_pattern`.
        padding: see `oom_suite.workloads.sparse_mla.caches.index_pattern`.
        num_tokens: requests, one token each; 0 is an empty batch.
        num_heads: query heads.
        swa_topk: entries of a row of the sliding window.
        extra_topk: entries of a row of the compressed pool.
        num_blocks: blocks of each pool.
        block_size: tokens of a block; the compressed pool of ``c128a`` has its own.
        sink: whether there is an attention sink.
        padded: whether pages are padded as vLLM lays them out.
        fp8_dtype: the fp8 that the pools hold.
        seed: seed of everything random.
    """

    layer_kind: str = "c4a"
    pattern: str = "scattered"
    lens: str = "full"
    padding: str = "none"
    num_tokens: int = 3
    num_heads: int = 8
    swa_topk: int = 16
    extra_topk: int = 24
    num_blocks: int = 32
    block_size: int = 8
    sink: bool = True
    padded: bool = False
    fp8_dtype: torch.dtype = torch.float8_e4m3fn
    seed: int = 0


def random_step(options: StepOptions, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The same keyword arguments as `build` gives, with quantized random keys in the caches.

    Only the blocks that the indices name are written. Every other byte of the pools, page
    padding included, is `POISON`, and so is `output`. The values are the same on every device.

    Args:
        options: what the step is like.
        device: where everything lies.

    Raises:
        UsageError: an unknown layer kind, pattern, lens or padding.
    """
    if options.layer_kind not in LAYER_KINDS:
        raise unknown("layer kind", options.layer_kind, LAYER_KINDS)
    generator = torch.Generator(device="cpu").manual_seed(options.seed)
    shape = (options.num_tokens, options.num_heads, HEAD_DIM)
    q = torch.randn(shape, generator=generator).to(torch.bfloat16)
    sink = torch.randn(options.num_heads, generator=generator)
    swa_cache, swa = _random_pool(options, options.swa_topk, options.block_size, generator, device)
    extra_cache, extra = None, None
    if options.layer_kind != "swa_only":
        block_size = C128A_BLOCK_SIZE if options.layer_kind == "c128a" else options.block_size
        topk = options.extra_topk
        extra_cache, extra = _random_pool(options, topk, block_size, generator, device)
    return {
        "q": q.to(device),
        "kv_cache": extra_cache,
        "swa_k_cache": swa_cache,
        "swa_only": extra is None,
        "topk_indices": None if extra is None else extra.slots.unsqueeze(1),
        "topk_lens": None if extra is None else extra.lens,
        "swa_indices": swa.slots,
        "swa_lens": swa.lens,
        "attn_sink": sink.to(device) if options.sink else None,
        **_constants(),
        "output": torch.full(shape, torch.nan, dtype=torch.bfloat16, device=device),
    }


def oracle(step: Mapping[str, Any], fp8_dtype: torch.dtype = torch.float8_e4m3fn) -> torch.Tensor:
    """The attention that a step must give over the counting entries of both pools, and the sink.

    Args:
        step: keyword arguments as `random_step` gives them; nothing in them is written.
        fp8_dtype: the fp8 that the pools hold.

    Returns:
        float64 [num_tokens, num_heads, head_dim], on the CPU.
    """
    return attention(step, lambda token: _named_keys(step, token, fp8_dtype))


def tolerance(
    step: Mapping[str, Any],
    expected: torch.Tensor,
    fp8_dtype: torch.dtype = torch.float8_e4m3fn,
) -> torch.Tensor:
    """How far a correct result may be from `oracle`'s; decoding fp8 times a power of two is exact.

    Args:
        step: keyword arguments as `random_step` gives them.
        expected: what `oracle` gave.
        fp8_dtype: the fp8 that the pools hold.

    Returns:
        float64 [num_tokens, num_heads, head_dim], on the CPU.
    """
    return rounding(step, expected, lambda token: _named_keys(step, token, fp8_dtype))


def _constants() -> dict[str, Any]:
    return {
        "scale": SCALE,
        "head_dim": HEAD_DIM,
        "nope_head_dim": FP8_DS_MLA_V4.nope_head_dim,
        "rope_head_dim": FP8_DS_MLA_V4.rope_head_dim,
    }


def _shape(sizes: Mapping[str, int]) -> tuple[int, int, int]:
    return sizes["num_tokens"], sizes["num_heads"], HEAD_DIM


def _pool(sizes: Mapping[str, int], pool: str, device: torch.device | str) -> torch.Tensor:
    return paged_pool(sizes[f"{pool}_num_blocks"], sizes["block_size"], FP8_DS_MLA_V4, device)


def _rest(sizes: Mapping[str, int], swa: Indices, device: torch.device | str) -> dict[str, Any]:
    """What a step has on every layer, but for its queries and pools."""
    return {
        "swa_indices": swa.slots,
        "swa_lens": swa.lens,
        "attn_sink": torch.zeros(sizes["num_heads"], dtype=torch.float32, device=device),
        **_constants(),
        "output": torch.empty(_shape(sizes), dtype=torch.bfloat16, device=device),
    }


def _spread(sizes: Mapping[str, int], pool: str, device: torch.device | str) -> Indices:
    return spread_indices(
        sizes["num_tokens"],
        sizes[f"{pool}_topk"],
        sizes[f"{pool}_num_blocks"],
        sizes["block_size"],
        sizes["referenced_blocks"],
        device,
    )


def poisoned_pool(
    shape: tuple[int, int],
    blocks: torch.Tensor,
    fp8_dtype: torch.dtype,
    generator: torch.Generator,
    padded: bool,
    sizes: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """A pool with random keys in these blocks, on their device, and `POISON` everywhere else.

    Args:
        shape: how many blocks there are, and tokens of a block.
        blocks: int64 [num_written], those that get keys.
        fp8_dtype: the fp8 that the pool holds.
        generator: of the keys, on the CPU.
        padded: whether pages are padded as vLLM lays them out.
        sizes: what keys are multiplied by, float [512] or one for all.
    """
    pool = paged_pool(*shape, FP8_DS_MLA_V4, blocks.device, padded=padded)
    pool.as_strided((pool.untyped_storage().nbytes(),), (1,)).fill_(POISON)
    keys = torch.randn((len(blocks), shape[1], HEAD_DIM), generator=generator) * sizes
    write_blocks(pool, blocks, keys.to(blocks.device), FP8_DS_MLA_V4, fp8_dtype)
    return pool


def _random_pool(
    options: StepOptions,
    topk: int,
    block_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> tuple[torch.Tensor, Indices]:
    """A poisoned pool with random keys in the blocks that its indices name."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    found = index_pattern(
        options.pattern,
        num_tokens=options.num_tokens,
        topk=topk,
        num_blocks=options.num_blocks,
        block_size=block_size,
        lens=options.lens,
        padding=options.padding,
        seed=seed,
        device=device,
    )
    blocks = referenced_blocks(found.slots, found.lens, block_size)
    pool = poisoned_pool(
        (options.num_blocks, block_size), blocks, options.fp8_dtype, generator, options.padded
    )
    return pool, found


def _named_keys(step: Mapping[str, Any], token: int, fp8_dtype: torch.dtype) -> torch.Tensor:
    """The keys of one token's counting entries, float64 [num_named, head_dim], on the CPU."""
    reads = [("swa_k_cache", "swa_indices", "swa_lens")]
    if not step["swa_only"]:
        reads.append(("kv_cache", "topk_indices", "topk_lens"))
    found = []
    for cache, indices, lens in reads:
        pool, row = step[cache], step[indices][token].reshape(-1)[: int(step[lens][token])]
        slots = row[row >= 0].long()
        block_size = pool.shape[1]
        blocks = block_view(pool)[slots // block_size].cpu()
        values = dequantize(blocks, block_size, FP8_DS_MLA_V4, fp8_dtype)
        offsets = (slots % block_size).cpu()
        found.append(values[torch.arange(len(slots)), offsets].to(torch.float64))
    return torch.cat(found)
