"""The indexer's small steps, for safety detectors."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.records.safety import Region
from oom_suite.workloads.indexer.oracle import TOKEN_BYTES
from oom_suite.workloads.indexer.step import HEAD_DIM, SCALE_BYTES
from oom_suite.workloads.sparse_mla.variants import fp8_of
from oom_suite.workloads.variants import IndexVariant, PoolBytes, Replay, SmallSteps, Variant

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from oom_suite.records import Workload

PAGE_ALIGNMENT_BYTES = 576
"""A page of 64 keys has 8,448 bytes, and is 8,640 long.

Source: vLLM 0.21.0 `vllm/v1/kv_cache_interface.py`, the alignment of DeepSeek-V4's pages.
"""


@dataclass(frozen=True, slots=True)
class StepOptions:
    """What a small decode step is like.

    Attributes:
        context_lens: keys of each request.
        next_n: tokens of each that are scored at once; the last one sees all of its keys.
        num_heads: heads of the indexer.
        num_blocks: blocks of the cache.
        block_size: keys of a block.
        spare: blocks that a request's row of the table has behind those of its context.
        padded: whether pages are padded as vLLM lays them out.
        in_order: whether requests have the cache's blocks in their order, the first its last ones.
        fp8_dtype: the fp8 of queries and keys.
        seed: of contents, and of the blocks that requests have.
    """

    context_lens: tuple[int, ...] = (21, 5)
    next_n: int = 1
    num_heads: int = 4
    num_blocks: int = 10
    block_size: int = 8
    spare: int = 1
    padded: bool = False
    in_order: bool = False
    fp8_dtype: torch.dtype = torch.float8_e4m3fn
    seed: int = 0


def small_decode(options: StepOptions, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The keywords of `step.build_decode` with random contents, in every block of the cache.

    The values of a block come first, then the scales of its keys.

    Source: vLLM 0.33.0 `csrc/cache_kernels.cu`, `indexer_k_quant_and_cache_kernel`; DeepGEMM
    `tests/test_attention.py`, `kv_cache_cast_to_fp8`.
    """
    generator = torch.Generator(device="cpu").manual_seed(options.seed)
    batch, next_n, num_heads = len(options.context_lens), options.next_n, options.num_heads
    num_blocks, block_size = options.num_blocks, options.block_size
    width = max((-(-length // block_size) for length in options.context_lens), default=0)
    width += options.spare
    order = torch.arange(num_blocks - 1, -1, -1)
    if not options.in_order:
        order = torch.randperm(num_blocks, generator=generator)
    values = _fp8((num_blocks, block_size * HEAD_DIM), options.fp8_dtype, generator)
    scales = torch.rand((num_blocks, block_size), generator=generator) + 0.25
    blocks = torch.cat([values.view(torch.uint8), scales.view(torch.uint8)], dim=1)
    block_bytes = blocks.shape[1]
    page_bytes = _page_bytes(block_size) if options.padded else block_bytes
    pages = torch.zeros((num_blocks, page_bytes), dtype=torch.uint8)
    pages[:, :block_bytes] = blocks
    weights = torch.randn((batch * next_n, num_heads), generator=generator)
    return {
        "q": _fp8((batch, next_n, num_heads, HEAD_DIM), options.fp8_dtype, generator).to(device),
        "kv_cache": pages.to(device)[:, :block_bytes].view(num_blocks, block_size, 1, TOKEN_BYTES),
        "weights": weights.to(device),
        "context_lens": torch.tensor(options.context_lens, dtype=torch.int32, device=device),
        "block_tables": order[: batch * width].view(batch, width).int().to(device),
        "max_model_len": max(1, width) * block_size,
    }


def small_prefill(
    device: torch.device | str, fp8_dtype: torch.dtype, seed: int = 0
) -> dict[str, Any]:
    """The keywords of `step.build_prefill`: two requests' tokens, each with its own keys."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    first, last = torch.tensor([0, 0, 0, 17, 17]), torch.tensor([15, 16, 17, 19, 20])
    num_tokens, num_keys, num_heads = len(first), 20, 4
    keys = _fp8((num_keys, HEAD_DIM), fp8_dtype, generator)
    scales = torch.rand(num_keys, generator=generator) + 0.25
    return {
        "q": _fp8((num_tokens, num_heads, HEAD_DIM), fp8_dtype, generator).to(device),
        "kv": (keys.to(device), scales.to(device)),
        "weights": torch.randn((num_tokens, num_heads), generator=generator).to(device),
        "cu_seqlen_ks": first.int().to(device),
        "cu_seqlen_ke": last.int().to(device),
    }


def _fp8(shape: Sequence[int], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(tuple(shape), generator=generator).to(dtype)


def _page_bytes(block_size: int) -> int:
    return -(-block_size * TOKEN_BYTES // PAGE_ALIGNMENT_BYTES) * PAGE_ALIGNMENT_BYTES


class KeyBytes(PoolBytes):
    """The bytes of a pool whose blocks hold the values of all keys, then their scales."""

    def unreferenced(
        self, name: str, pool: torch.Tensor, slots: Collection[int]
    ) -> tuple[Region, ...]:
        """Values and scales of keys that are not named, whole blocks, and page padding."""
        num_blocks, block_size = pool.shape[:2]
        parts = []
        for block in range(num_blocks):
            at, used_bytes = block * pool.stride(0), block_size * TOKEN_BYTES
            free = [n for n in range(block_size) if block * block_size + n not in slots]
            if len(free) == block_size:
                parts.append(Region(name, "unreferenced block", block, None, at, used_bytes, None))
            else:
                for key in free:
                    parts += [
                        Region(name, f"unreferenced {what}", block, key, at + first, size, None)
                        for what, first, size in _pieces(key, block_size)
                    ]
            padding_bytes = pool.stride(0) - used_bytes
            if padding_bytes > 0:
                first = at + used_bytes
                parts.append(Region(name, "page padding", block, None, first, padding_bytes, None))
        return tuple(parts)

    def referenced_spans(
        self, pool: torch.Tensor, slots: Collection[int]
    ) -> tuple[tuple[int, int], ...]:
        """Values and scales of the keys."""
        block_size = pool.shape[1]
        spans = [
            (slot // block_size * pool.stride(0) + first, size)
            for slot in slots
            for _, first, size in _pieces(slot % block_size, block_size)
        ]
        return tuple(sorted((first, first + size) for first, size in spans))

    def place(self, pool: torch.Tensor, byte: int) -> tuple[int | None, int | None]:
        """By the values, then by the scales behind them."""
        block, within = divmod(byte, pool.stride(0))
        values_bytes = pool.shape[1] * HEAD_DIM
        if within < values_bytes:
            return block, within // HEAD_DIM
        key = (within - values_bytes) // SCALE_BYTES
        return block, key if key < pool.shape[1] else None

    def page_bytes(self, pool: torch.Tensor) -> int:
        """Padded, as vLLM lays pages out."""
        return _page_bytes(pool.shape[1])


def _pieces(key: int, block_size: int) -> tuple[tuple[str, int, int], ...]:
    """A key's values and its scale: what they are, their first byte in the block, how many."""
    scale = block_size * HEAD_DIM + key * SCALE_BYTES
    return ("key", key * HEAD_DIM, HEAD_DIM), ("scale", scale, SCALE_BYTES)


_INDICES: tuple[tuple[str, bool, dict[str, Any]], ...] = (
    ("one key and a whole block", True, {"context_lens": (1, 8)}),
    ("no keys", True, {"context_lens": (0, 9)}),
    ("the last key of the last block", True, {"context_lens": (16, 5), "in_order": True}),
    ("no blocks behind the context", True, {"context_lens": (16, 16), "spare": 0}),
    ("empty batch", False, {"context_lens": ()}),
)


class DecodeVariants(SmallSteps):
    """The steps of `indexer-logits`: one token of a request, and two."""

    pool_bytes = KeyBytes()
    base = StepOptions()

    def plain(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Variant]:
        """With one token, and with two in padded pages."""
        del workload
        two = replace(self.base, next_n=2, padded=True, seed=1)
        return [_decode(options, device, arch) for options in (self.base, two)]

    def index_variants(
        self, workload: Workload, device: torch.device, arch: str
    ) -> Sequence[IndexVariant]:
        """Contexts that end with a block or before the first, and tables of their very width."""
        del workload
        return [
            IndexVariant(name, needed, _decode(self._changed(changes), device, arch))
            for name, needed, changes in _INDICES
        ]

    def far(self, workload: Workload, device: torch.device, arch: str) -> Variant:
        """Two requests that have all of eight blocks of 64 keys."""
        del workload
        options = StepOptions((256, 250), spare=0, num_blocks=8, block_size=64, seed=2)
        return _decode(options, device, arch)

    def replays(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Replay]:
        """Other contexts, blocks and contents, of one token and of two."""
        del workload
        found = []
        for next_n in (1, 2):
            first = replace(self.base, next_n=next_n, fp8_dtype=fp8_of(arch))
            shorter = tuple(length - 2 for length in self.base.context_lens)
            other = replace(first, context_lens=shorter, seed=3)
            made = (functools.partial(small_decode, one, device) for one in (first, other))
            found.append(Replay(*made))
        return found

    def _changed(self, changes: dict[str, Any]) -> StepOptions:
        """With contexts of as many blocks as of blocks of eight."""
        options = replace(self.base, **changes)
        lens = tuple(
            length // 8 * options.block_size + length % 8 for length in options.context_lens
        )
        return replace(options, context_lens=lens)


class DispatchedVariants(DecodeVariants):
    """Those of `indexer-logits-rocm`: its kernel takes blocks of 64 keys.

    What stands in a row behind the keys that its token sees is nobody's: whoever takes the top-k
    of it asks for so many keys.

    Source: vLLM 0.33.0 `vllm/v1/attention/ops/rocm_aiter_mla_sparse.py:624`; the same file,
    the call of ``top_k_per_row_decode``, which is given the lengths.
    """

    base = StepOptions(context_lens=(150, 70), block_size=64)

    def counted(
        self, step: Mapping[str, Any], outputs: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, ...]:
        """Minus infinity behind the keys that a token sees."""
        (logits, *rest) = outputs
        next_n = step["q"].shape[1]
        token = torch.arange(len(logits), device=logits.device) % next_n
        limit = step["context_lens"].repeat_interleave(next_n) - next_n + token + 1
        place = torch.arange(logits.shape[1], device=logits.device)
        return (logits.masked_fill(place >= limit.unsqueeze(1), -torch.inf), *rest)


class PrefillVariants(SmallSteps):
    """The steps of `indexer-prefill`."""

    def plain(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Variant]:
        """Two requests, whose tokens see their own keys alone."""
        del workload
        make = functools.partial(small_prefill, device, fp8_of(arch))
        return [Variant("two requests", make, {"fp8_dtype": fp8_of(arch)})]

    def replays(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Replay]:
        """Other contents."""
        del workload
        made = (functools.partial(small_prefill, device, fp8_of(arch), seed) for seed in (1, 2))
        return [Replay(*made)]


def _decode(options: StepOptions, device: torch.device, arch: str) -> Variant:
    chosen = replace(options, fp8_dtype=fp8_of(arch))
    return Variant(
        f"{options.next_n} of a request",
        functools.partial(small_decode, chosen, device),
        {"fp8_dtype": chosen.fp8_dtype},
    )


DECODE = DecodeVariants()
DISPATCHED = DispatchedVariants()
PREFILL = PrefillVariants()
