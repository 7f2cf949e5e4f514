"""The cure of vLLM #42576: gather the bytes of the tokens named, and decode only these.

An entry named twice is gathered twice; in return nothing is made unique, the host reads nothing
and the step can be captured in a graph.

Memory law, in bytes, up to 152 heads: ``2677*num_tokens*topk + 4104*num_tokens*num_heads`` for
the pool with the larger top-k (an entry: 584 as stored, 2048 decoded to float32, 28 of scales,
17 of index arithmetic). No pool size and no block occurs.
"""

from __future__ import annotations

import torch

from oom_suite.workloads.sparse_mla.builtins.attention import RunningAttention
from oom_suite.workloads.sparse_mla.builtins.rows import Fp8Rows, locate, pool_reads


def token_gather_decode(
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
    """Decode the tokens named alone, and attend to them.

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
        slots = locate(part.indices, part.lens, part.pool.shape[1])
        keys = pool.at(slots.block, slots.offset).decode(torch.float32)
        attention.add(keys, slots.counts)
        del keys, slots
    attention.finish(attn_sink, output)
