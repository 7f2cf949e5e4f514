"""The cure of vLLM #42248: decode only the distinct blocks that the indices name.

The named blocks are made unique, copied together, decoded, and the indices pointed at the copy.
`torch.unique` gives as many blocks as there are, so that the host waits for the device and the
step cannot be captured in a graph.

Memory law, in bytes, for the pool that takes more: the greater of
``(1622*block_size + 8)*referenced_blocks + 25*num_tokens*topk`` (decoding: 584 a token as stored,
1024 decoded, 14 of scales) and
``(1024*block_size + 8)*referenced_blocks + 3097*num_tokens*topk`` (gathering), each plus
``4104*num_tokens*num_heads``. No pool size occurs. What `torch.unique` takes inside is its own.
"""

from __future__ import annotations

import torch

from oom_suite.workloads.sparse_mla.builtins.attention import RunningAttention
from oom_suite.workloads.sparse_mla.builtins.rows import Fp8Rows, locate, pool_reads


def block_compaction_decode(
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
    """Decode the referenced blocks alone, then attend to the entries named.

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
        blocks, compact = torch.unique(slots.block, return_inverse=True)
        # On a GPU unique's result keeps storage for every entry; the copy has only the blocks.
        blocks = blocks.clone()
        values = pool.at(blocks).decode(torch.bfloat16)
        keys = values[compact, slots.offset].to(torch.float32)
        attention.add(keys, slots.counts)
        del slots, blocks, compact, values, keys
    attention.finish(attn_sink, output)
