"""The fast path of `decode` on NVIDIA's Hopper, for the shapes that it is written for."""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import TYPE_CHECKING

import torch

from oom_suite.workloads.sparse_mla.kernels.dispatch import FastPath
from oom_suite.workloads.sparse_mla.kernels.parts import Parts, arguments, num_splits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oom_suite.workloads.sparse_mla.builtins.rows import PoolRead

_CAPABILITY = (9, 0)
_HEADS, _KEYS = 64, 64
_ALIGNMENT_BYTES = 16
_TILES_OF_A_MERGE = 2


def _applies(
    q: torch.Tensor, reads: Sequence[PoolRead], fp8_dtype: torch.dtype, **_rest: object
) -> bool:
    return (
        q.is_cuda
        and torch.version.hip is None
        and torch.cuda.get_device_capability(q.device) == _CAPABILITY
        and fp8_dtype == torch.float8_e4m3fn
        and all(_is_aligned(read.pool) for read in reads)
        and os.environ.get("TRITON_INTERPRET") != "1"
        and _has_gluon()
    )


def _is_aligned(pool: torch.Tensor) -> bool:
    return not (pool.stride(0) % _ALIGNMENT_BYTES or pool.storage_offset() % _ALIGNMENT_BYTES)


@functools.cache
def _has_gluon() -> bool:
    try:
        return importlib.util.find_spec("triton.experimental.gluon") is not None
    except ModuleNotFoundError:
        return False


def _run(
    q: torch.Tensor,
    reads: Sequence[PoolRead],
    attn_sink: torch.Tensor | None,
    scale: float,
    output: torch.Tensor,
    fp8_dtype: torch.dtype,
    parts: torch.Tensor | None,
) -> None:
    from oom_suite.workloads.sparse_mla.kernels.on_triton.decode_hopper import decode_kernel

    del fp8_dtype
    num_tokens, num_heads, _ = q.shape
    blocks = -(-num_heads // _HEADS)
    num_tiles = sum(-(-read.indices.shape[1] // _KEYS) for read in reads)
    # A program is fast enough to do without parts: they are for who keeps memory for them, and
    # for more tiles than a merge takes the time of.
    may_split = parts is not None and num_tiles > _TILES_OF_A_MERGE
    splits = num_splits(num_tokens * blocks, num_tiles) if may_split else 1
    made = Parts(q, splits, output, parts)
    decode_kernel[(num_tokens, blocks, made.splits)](
        *arguments(made, q, reads, attn_sink, scale),
        SWA_SIZE=reads[0].pool.shape[1],
        EXTRA_SIZE=reads[-1].pool.shape[1],
        SPLITS=made.splits,
        HAS_EXTRA=len(reads) > 1,
        HAS_SINK=attn_sink is not None,
        num_warps=8,
    )
    made.merge(attn_sink)


DECODE = FastPath("decode", _applies, _run)
