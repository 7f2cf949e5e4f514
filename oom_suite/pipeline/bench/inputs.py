"""Inputs of every shape on a GPU, enough of them to rotate past its last cache."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.pipeline.bench.clock import num_inputs
from oom_suite.pipeline.bench.prefill import chunk, sizes_of
from oom_suite.pipeline.bench.shapes import DECODE, DENSE, GATHER, PREFILL, PREFILL_POOL_BLOCKS
from oom_suite.workloads.sparse_mla.caches import paged_pool
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.step import HEAD_DIM, SCALE

if TYPE_CHECKING:
    from oom_suite.records.bench import Shape

BLOCK_SIZE = 64
_GATHER_BLOCKS, _DECODE_BLOCKS = 16_384, 4096
_SCALES_BYTES, _SCALES_LINE = 8, 64
"""Scales of a token, and the bytes that come with them: a kernel may ask the cache to keep them."""
_SWA_TOPK, _EXTRA_TOPK = 128, 512
_C128A_BLOCK_SIZE = 2
_MOST_CHUNKS = 16
"""A chunk has indices and an output of some MiB of its own."""
_ROW_BYTES = 2 * HEAD_DIM
_ALL_ROWS = 32_768


def filled_pool(
    num_blocks: int, block_size: int = BLOCK_SIZE, device: torch.device | str = "cuda"
) -> torch.Tensor:
    """A cache with finite values everywhere, uint8 [num_blocks, block_size, 584]."""
    pool = paged_pool(num_blocks, block_size, FP8_DS_MLA_V4, device, padded=True)
    raw = pool.as_strided((pool.untyped_storage().nbytes(),), (1,))
    raw.random_(0, 256).bitwise_and_(0x7B)
    return pool


def moved_bytes(shape: Shape) -> int:
    """What a call of this shape reads and writes at least: stored tokens, queries, results."""
    if shape.part == GATHER:
        return shape.sizes["rows"] * (FP8_DS_MLA_V4.token_bytes + _ROW_BYTES)
    if shape.part == PREFILL:
        return _union_rows(shape) * (FP8_DS_MLA_V4.token_bytes + _ROW_BYTES)
    num_tokens, num_keys = shape.sizes["tokens"], _SWA_TOPK
    if shape.layer != "swa_only":
        num_keys += _EXTRA_TOPK
    stored = num_tokens * num_keys * FP8_DS_MLA_V4.token_bytes
    return stored + 2 * num_tokens * shape.sizes["heads"] * _ROW_BYTES


def _is_part(shape: Shape) -> bool:
    """Whether a gather's rows are some of a prefix's, and not of the whole pool's."""
    return "percent" in shape.sizes


def _num_slots(shape: Shape) -> int:
    """How many slots a gather's rows are some of."""
    return _ALL_ROWS if _is_part(shape) else _GATHER_BLOCKS * BLOCK_SIZE


def _union_rows(shape: Shape) -> int:
    sizes = _prefill_sizes(shape)
    return sizes["num_requests"] * sizes["union_rows"]


def _prefill_sizes(shape: Shape) -> dict[str, int]:
    """The sizes of the workload `prefill-gather`."""
    case = tuple(shape.sizes[name] for name in ("entries", "requests", "queries"))
    return sizes_of((case[0], case[1], case[2]), shape.sizes["percent"])


class Inputs:
    """The inputs of the shape that was asked for last, all over the same pools.

    Args:
        l2_bytes: the last cache, of which they touch twice as much together.
        device: where they lie.
    """

    def __init__(self, l2_bytes: int, device: torch.device | str = "cuda") -> None:
        self._l2_bytes, self._device = l2_bytes, device
        self._of: tuple[Any, ...] = ()
        self._made: list[dict[str, Any]] = []

    def of(self, shape: Shape, subject: str) -> list[dict[str, Any]]:
        """Keywords of calls at this shape, at least four of them.

        Args:
            shape: what is called.
            subject: as of `oom_suite.records.bench.Timing`: a gather by block table takes others.
        """
        is_dense = subject == DENSE
        wanted = (shape.name, shape.layer, is_dense)
        if self._of != wanted:
            # The old ones go before the new ones come: two of the largest might not fit.
            self._of, self._made = wanted, []
            of_part = {GATHER: self._rows, DECODE: self._steps, PREFILL: self._chunks}
            self._made = self._prefixes() if is_dense else of_part[shape.part](shape)
        return self._made

    def _rows(self, shape: Shape) -> list[dict[str, Any]]:
        """Over so many pools and slots that the scales, too, are twice the cache in the end."""
        num_rows = shape.sizes["rows"]
        scales = min(num_rows * _SCALES_LINE, _num_slots(shape) * _SCALES_BYTES)
        all_scales = _GATHER_BLOCKS * BLOCK_SIZE * _SCALES_BYTES
        outs = [self._empty(num_rows) for _ in range(self._num_inputs(moved_bytes(shape)))]
        pools = [
            filled_pool(_GATHER_BLOCKS, device=self._device)
            for _ in range(self._num_inputs(all_scales))
        ]
        return [
            {
                "out": outs[each % len(outs)],
                "k_cache": pools[each % len(pools)],
                "slot_indices": self._slots(shape),
                "block_size": BLOCK_SIZE,
            }
            for each in range(self._num_inputs(scales))
        ]

    def _slots(self, shape: Shape) -> torch.Tensor:
        """In no order: of all there are, or of a prefix, where a part of its rows is wanted."""
        num_slots, num_rows = _num_slots(shape), shape.sizes["rows"]
        found = self._permuted(num_slots, num_rows)
        if not _is_part(shape):
            return found
        table = self._permuted(_GATHER_BLOCKS, num_slots // BLOCK_SIZE)
        return table[found // BLOCK_SIZE] * BLOCK_SIZE + found % BLOCK_SIZE

    def _prefixes(self) -> list[dict[str, Any]]:
        """Of all rows, whatever part of them the shape wants: that is what it is beside."""
        pool = filled_pool(_GATHER_BLOCKS, device=self._device)
        lens = torch.full((1,), _ALL_ROWS, dtype=torch.int32, device=self._device)
        all_bytes = _ALL_ROWS * (FP8_DS_MLA_V4.token_bytes + _ROW_BYTES)
        return [
            {
                "out": self._empty(_ALL_ROWS).unsqueeze(0),
                "k_cache": pool,
                "seq_lens": lens,
                "gather_lens": None,
                "block_table": self._permuted(_GATHER_BLOCKS, _ALL_ROWS // BLOCK_SIZE).unsqueeze(0),
                "block_size": BLOCK_SIZE,
                "offset": 0,
            }
            for _ in range(self._num_inputs(all_bytes))
        ]

    def _steps(self, shape: Shape) -> list[dict[str, Any]]:
        swa, extra = filled_pool(_DECODE_BLOCKS, device=self._device), None
        if shape.layer == "c128a":
            num_blocks = _DECODE_BLOCKS * BLOCK_SIZE // _C128A_BLOCK_SIZE
            extra = filled_pool(num_blocks, _C128A_BLOCK_SIZE, self._device)
        elif shape.layer == "c4a":
            extra = filled_pool(_DECODE_BLOCKS, device=self._device)
        count = self._num_inputs(moved_bytes(shape))
        return [self._step(shape, swa, extra) for _ in range(count)]

    def _step(self, shape: Shape, swa: torch.Tensor, extra: torch.Tensor | None) -> dict[str, Any]:
        """One step at the model's own widths, every entry of which counts."""
        num_tokens, num_heads = shape.sizes["tokens"], shape.sizes["heads"]
        here = functools.partial(torch.full, dtype=torch.int32, device=self._device)

        def slots(topk: int) -> torch.Tensor:
            shape = (num_tokens, topk)
            num_slots = _DECODE_BLOCKS * BLOCK_SIZE
            return torch.randint(num_slots, shape, dtype=torch.int32, device=self._device)

        q = torch.randn(num_tokens, num_heads, HEAD_DIM, device=self._device).bfloat16()
        return {
            "q": q,
            "kv_cache": extra,
            "swa_k_cache": swa,
            "swa_only": extra is None,
            "topk_indices": None if extra is None else slots(_EXTRA_TOPK).unsqueeze(1),
            "topk_lens": None if extra is None else here((num_tokens,), _EXTRA_TOPK),
            "swa_indices": slots(_SWA_TOPK),
            "swa_lens": here((num_tokens,), _SWA_TOPK),
            "attn_sink": torch.randn(num_heads, device=self._device),
            "scale": SCALE,
            "head_dim": HEAD_DIM,
            "nope_head_dim": FP8_DS_MLA_V4.nope_head_dim,
            "rope_head_dim": FP8_DS_MLA_V4.rope_head_dim,
            "output": torch.empty_like(q),
        }

    def _chunks(self, shape: Shape) -> list[dict[str, Any]]:
        first, second = (filled_pool(PREFILL_POOL_BLOCKS, device=self._device) for _ in range(2))
        count = min(_MOST_CHUNKS, self._num_inputs(moved_bytes(shape)))
        sizes = _prefill_sizes(shape)
        return [chunk(sizes, (first, second), seed) for seed in range(count)]

    def _num_inputs(self, num_bytes: int) -> int:
        return num_inputs(num_bytes, self._l2_bytes)

    def _empty(self, num_rows: int) -> torch.Tensor:
        return torch.empty(num_rows, HEAD_DIM, dtype=torch.bfloat16, device=self._device)

    def _permuted(self, count: int, wanted: int) -> torch.Tensor:
        return torch.randperm(count, device=self._device)[:wanted].int()
