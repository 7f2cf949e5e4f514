"""Sparse attention of one decode step from the stored caches, in one pass over both.

A program decodes some stored keys, weighs them and drops them, so nothing dense is ever made. The
keys of few tokens are split over several programs. On NVIDIA's Hopper these merge in their shared
memory, and a step takes nothing. On other GPUs a second kernel merges the parts exactly: each part
keeps its sum and its logarithm in float32, ``2052 * num_splits * num_tokens * num_heads`` bytes in
all, of which at most `oom_suite.workloads.sparse_mla.kernels.parts.MOST_PROGRAMS` programs have
one. They lie in what the caller keeps for them (``parts``), or the step takes them.

Weights are multiplied as two bf16 numbers each, so that a result is as close to the exact one as
its own rounding to bf16 lets it be.

Source: Milakov and Gimelshein, arXiv 1805.02867, for the running softmax.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import UsageError
from oom_suite.workloads.sparse_mla.builtins.rows import pool_reads
from oom_suite.workloads.sparse_mla.builtins.streaming import streaming_decode
from oom_suite.workloads.sparse_mla.kernels import arguments, hopper
from oom_suite.workloads.sparse_mla.kernels.dispatch import (
    register_fast_path,
    run_fast,
    takes_triton,
)
from oom_suite.workloads.sparse_mla.kernels.parts import Parts, num_splits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oom_suite.workloads.sparse_mla.builtins.rows import PoolRead

_MOST_HEADS, _LEAST_HEADS = 64, 16
_KEYS = 32

register_fast_path(hopper.DECODE)


def fused_decode(
    q: torch.Tensor,
    kv_cache: torch.Tensor | None,
    swa_k_cache: torch.Tensor,
    swa_only: bool,
    topk_indices: torch.Tensor | None,
    topk_lens: torch.Tensor | None,
    swa_indices: torch.Tensor,
    swa_lens: torch.Tensor,
    attn_sink: torch.Tensor | None,
    scale: float,
    head_dim: int,
    nope_head_dim: int,
    rope_head_dim: int,
    output: torch.Tensor,
    fp8_dtype: torch.dtype = torch.float8_e4m3fn,
    parts: torch.Tensor | None = None,
) -> None:
    """Attend to the stored keys that a step names; nothing of them is kept.

    The arguments are those of `oom_suite.workloads.sparse_mla.builtins`; the pages of a pool may
    be strided by any number of bytes. ``parts`` is memory that a split step may use, float32 and
    contiguous, whatever is in it: a step is split no further than it holds, and 16 MiB and 32 KiB
    hold every step. Steps that run at once must not share it. Hopper has no use for it.

    Raises:
        UsageError: a layer that is not `swa_only` lacks its pool, indices or lens; ``parts`` is of
            another dtype or device; or a GPU without Triton.
    """
    _check_parts(q, parts)
    if not takes_triton(q):
        streaming_decode(
            q, kv_cache, swa_k_cache, swa_only, topk_indices, topk_lens, swa_indices, swa_lens,
            attn_sink, scale, head_dim, nope_head_dim, rope_head_dim, output, fp8_dtype,
        )  # fmt: skip
        return
    reads = pool_reads(
        swa_k_cache, swa_indices, swa_lens, swa_only, kv_cache, topk_indices, topk_lens
    )
    if q.shape[0] == 0:
        return
    call: dict[str, Any] = {
        "q": q,
        "reads": reads,
        "attn_sink": attn_sink,
        "scale": scale,
        "output": output,
        "fp8_dtype": fp8_dtype,
        "parts": parts,
    }
    if not run_fast("decode", **call):
        _in_triton(**call)


def _in_triton(
    q: torch.Tensor,
    reads: Sequence[PoolRead],
    attn_sink: torch.Tensor | None,
    scale: float,
    output: torch.Tensor,
    fp8_dtype: torch.dtype,
    parts: torch.Tensor | None,
) -> None:
    from oom_suite.workloads.sparse_mla.kernels.on_triton.decode import decode_kernel

    num_tokens, num_heads, _ = q.shape
    heads = min(_MOST_HEADS, max(_LEAST_HEADS, 1 << (num_heads - 1).bit_length()))
    blocks = -(-num_heads // heads)
    num_tiles = sum(-(-read.indices.shape[1] // _KEYS) for read in reads)
    made = Parts(q, num_splits(num_tokens * blocks, num_tiles), output, parts)
    decode_kernel[(num_tokens, blocks, made.splits)](
        *made.tensors,
        *arguments.of_step(output, q, reads, attn_sink, scale),
        SWA_BLOCK_SIZE=reads[0].pool.shape[1],
        EXTRA_BLOCK_SIZE=reads[-1].pool.shape[1],
        HEADS=heads,
        KEYS=_KEYS,
        SPLITS=made.splits,
        HAS_EXTRA=len(reads) > 1,
        HAS_SINK=attn_sink is not None,
        IS_FNUZ=fp8_dtype == torch.float8_e4m3fnuz,
        num_warps=4,
    )
    made.merge(attn_sink)


def _check_parts(q: torch.Tensor, parts: torch.Tensor | None) -> None:
    if parts is None:
        return
    if parts.dtype != torch.float32 or parts.device != q.device or not parts.is_contiguous():
        how = "contiguous" if parts.is_contiguous() else "strided"
        raise UsageError(
            f"parts is {parts.dtype} on {parts.device}, {how}: it must be torch.float32 on "
            f"{q.device} and contiguous, or None"
        )
