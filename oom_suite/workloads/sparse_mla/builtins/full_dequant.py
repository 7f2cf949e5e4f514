"""The bug of vLLM #41962: decode the whole of both pools, then read a few tokens.

Every byte of each pool becomes bf16 on every step, whether a request refers to it or not, and
both results are alive at once. One request is a whole pool: at 221,839 blocks, 13.54 GiB.

Memory law, in bytes, at 64 tokens a block: the greater of
``65536*swa_num_blocks + 66432*extra_num_blocks`` (decoding the second pool, with its scales) and
``65536*(swa_num_blocks + extra_num_blocks) + 3089*num_tokens*topk + 4104*num_tokens*num_heads``
(attending to the pool with the larger top-k).
"""

from __future__ import annotations

import torch

from oom_suite.workloads.sparse_mla.builtins.attention import RunningAttention
from oom_suite.workloads.sparse_mla.builtins.rows import Fp8Rows, locate, pool_reads


def full_dequant_decode(
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
    """Decode both pools entirely, then attend to the entries named.

    The arguments are those of `oom_suite.workloads.sparse_mla.builtins`.

    Raises:
        UsageError: a layer that is not `swa_only` lacks its pool, indices or lens.
    """
    parts = pool_reads(
        swa_k_cache, swa_indices, swa_lens, swa_only, kv_cache, topk_indices, topk_lens
    )
    dims = (nope_head_dim, rope_head_dim, fp8_dtype)
    decoded = [Fp8Rows.of_pool(part.pool, *dims).decode(torch.bfloat16) for part in parts]
    attention = RunningAttention(q, scale)
    for values, part in zip(decoded, parts, strict=True):
        slots = locate(part.indices, part.lens, part.pool.shape[1])
        keys = values[slots.block, slots.offset].to(torch.float32)
        attention.add(keys, slots.counts)
        del keys, slots
    attention.finish(attn_sink, output)
