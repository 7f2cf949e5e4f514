"""Attention over a few tokens at a time: memory that does not even grow with top-k.

Like `token_gather`, but `CHUNK` entries of each row at once, with a running softmax between. The
host reads nothing, so that the step can be captured in a graph.

Memory law, in bytes, up to 152 heads and from a top-k of `CHUNK` on:
``2677*CHUNK*num_tokens + 4104*num_tokens*num_heads``. No pool size, no block and no top-k occurs.
"""

from __future__ import annotations

import torch

from oom_suite.workloads.sparse_mla.builtins.attention import RunningAttention
from oom_suite.workloads.sparse_mla.builtins.rows import Fp8Rows, locate, pool_reads

CHUNK = 64
"""Entries of a row that are decoded together."""


def streaming_decode(
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
) -> None:
    """Decode and attend to `CHUNK` entries of each row at a time.

    The arguments are those of `oom_suite.workloads.sparse_mla.builtins`.

    Raises:
        UsageError: a layer that is not `swa_only` lacks its pool, indices or lens.
    """
    parts = pool_reads(
        swa_k_cache, swa_indices, swa_lens, swa_only, kv_cache, topk_indices, topk_lens
    )
    attention = RunningAttention(q, scale)
    for part in parts:
        pool = Fp8Rows.of_pool(part.pool, nope_head_dim, rope_head_dim, fp8_dtype)
        for first in range(0, part.indices.shape[1], CHUNK):
            chunk = part.indices[:, first : first + CHUNK]
            slots = locate(chunk, part.lens, part.pool.shape[1], first)
            keys = pool.at(slots.block, slots.offset).decode(torch.float32)
            attention.add(keys, slots.counts)
            del keys, slots
    attention.finish(attn_sink, output)
