"""Four decode paths of our own with one signature: the bug of vLLM #41962 and three ways out.

Each reads a DeepSeek-V4 paged cache (fp8_ds_mla) and writes attention into ``output``:

Args:
    q: bfloat16 [num_tokens, num_heads, head_dim].
    kv_cache: uint8 [num_blocks, block_size, 584], the compressed pool; None when `swa_only`.
        Like `swa_k_cache` it may be strided in its first dimension.
    swa_k_cache: uint8 [num_blocks, block_size, 584], the sliding window's pool.
    swa_only: whether the layer has no compressed pool.
    topk_indices: int [num_tokens, 1, topk] or [num_tokens, topk], slots of `kv_cache`; negative
        ones are padding. None when `swa_only`.
    topk_lens: int [num_tokens], entries that count; None when `swa_only`.
    swa_indices: int [num_tokens, topk] or [num_tokens, 1, topk], slots of `swa_k_cache`.
    swa_lens: int [num_tokens], entries that count.
    attn_sink: float32 [at least num_heads], a logit that takes its share of the softmax and
        gives no value; None for no sink.
    scale: factor of the logits.
    head_dim: 512.
    nope_head_dim: 448.
    rope_head_dim: 64.
    output: bfloat16 [num_tokens, num_heads, head_dim], written.
    fp8_dtype: the fp8 that the pools hold; `torch.float8_e4m3fn` unless given.

A token without any counting entry gets zeros. Padding reads slot 0, whose value is discarded:
block 0 is vLLM's null block, which is always there.

Source: the signature is that of vLLM 0.21.0 `v1/attention/ops/rocm_aiter_mla_sparse.py:1086`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.workloads.sparse_mla.builtins.block_compaction import block_compaction_decode
from oom_suite.workloads.sparse_mla.builtins.full_dequant import full_dequant_decode
from oom_suite.workloads.sparse_mla.builtins.streaming import streaming_decode
from oom_suite.workloads.sparse_mla.builtins.token_gather import token_gather_decode

if TYPE_CHECKING:
    from collections.abc import Callable

BUILTINS: dict[str, Callable[..., None]] = {
    "full_dequant": full_dequant_decode,
    "block_compaction": block_compaction_decode,
    "token_gather": token_gather_decode,
    "streaming": streaming_decode,
}
"""The four by name."""

__all__ = [
    "BUILTINS",
    "block_compaction_decode",
    "full_dequant_decode",
    "streaming_decode",
    "token_gather_decode",
]
