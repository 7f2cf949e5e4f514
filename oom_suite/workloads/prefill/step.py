"""The inputs of a prefill of DeepSeek-V4's sparse attention, at any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD_DIM, NOPE_HEAD_DIM = FP8_DS_MLA_V4.head_dim, FP8_DS_MLA_V4.nope_head_dim
ROPE_HEAD_DIM, TOKEN_BYTES = FP8_DS_MLA_V4.rope_head_dim, FP8_DS_MLA_V4.token_bytes
WINDOW_SIZE = 128
COMPRESS_RATIO = 4
TOPK = 512
"""DeepSeek-V4-Flash, a layer at ratio 4.

Source: vLLM 0.21.0 `vllm/model_executor/layers/deepseek_v4_attention.py:620`; the model's own
configuration.
"""

PAGE_TOKENS = 256
"""Tokens of a page; 64 entries of it at ratio 4."""


def build_attention(sizes: Mapping[str, int], device: torch.device | str) -> dict[str, Any]:
    """Sparse attention of a chunk's queries over keys that are gathered already.

    Args:
        sizes: ``num_tokens``, ``num_heads``, ``num_keys``, ``width`` and ``used``.
        device: where everything lies.

    Returns:
        ``q`` and ``output`` bfloat16 [num_tokens, num_heads, 512]; ``kv`` bfloat16
        [num_keys, 1, 512]; ``indices`` int32 [num_tokens, 1, width], of which the first of each
        row count, ``topk_length`` int32 [num_tokens] of them; ``attn_sink`` float32 [num_heads];
        ``scale`` and the dimensions of a head.
    """
    num_tokens, num_heads = sizes["num_tokens"], sizes["num_heads"]
    shape = (num_tokens, num_heads, HEAD_DIM)
    row = torch.arange(sizes["width"], dtype=torch.int32, device=device) % sizes["num_keys"]
    return {
        "q": torch.zeros(shape, dtype=torch.bfloat16, device=device),
        "kv": torch.zeros(sizes["num_keys"], 1, HEAD_DIM, dtype=torch.bfloat16, device=device),
        "indices": row.repeat(num_tokens, 1).unsqueeze(1),
        "topk_length": torch.full((num_tokens,), sizes["used"], dtype=torch.int32, device=device),
        "scale": HEAD_DIM**-0.5,
        "head_dim": HEAD_DIM,
        "nope_head_dim": NOPE_HEAD_DIM,
        "rope_head_dim": ROPE_HEAD_DIM,
        "attn_sink": torch.zeros(num_heads, device=device),
        "output": torch.zeros(shape, dtype=torch.bfloat16, device=device),
    }


def build_workspace(sizes: Mapping[str, int], device: torch.device | str) -> dict[str, Any]:
    """The prefills of one step, each with the same number of new tokens and the same context.

    Args:
        sizes: ``num_blocks``, ``num_prefills``, ``query_len``, ``context_len`` (the new tokens
            among it), ``num_heads``, ``max_model_len`` and ``max_num_batched_tokens``.
        device: where all but the plans lie.

    Returns:
        ``q`` and ``output`` bfloat16 [tokens, num_heads, 512]; ``swa_k_cache`` uint8
        [num_blocks, 256, 584] and ``compressed_k_cache`` [num_blocks, 64, 584]; ``block_table``
        int32 [num_prefills, pages of a context]; ``seq_lens``, ``query_lens`` and
        ``gather_lens`` int32 [num_prefills], on the CPU too with ``_cpu`` behind their names, and
        so ``query_start_loc`` int32 [num_prefills + 1]; ``topk_indices`` int32 [tokens, 512];
        ``attn_sink`` float32 [num_heads]; and the numbers of the model and the server.
    """
    num_prefills, query_len = sizes["num_prefills"], sizes["query_len"]
    num_tokens = num_prefills * query_len
    shape = (num_tokens, sizes["num_heads"], HEAD_DIM)
    pages = -(-sizes["context_len"] // PAGE_TOKENS)
    caches = {
        name: torch.empty(
            sizes["num_blocks"], tokens, TOKEN_BYTES, dtype=torch.uint8, device=device
        )
        for name, tokens in (
            ("swa_k_cache", PAGE_TOKENS),
            ("compressed_k_cache", PAGE_TOKENS // COMPRESS_RATIO),
        )
    }
    return {
        "q": torch.zeros(shape, dtype=torch.bfloat16, device=device),
        "output": torch.zeros(shape, dtype=torch.bfloat16, device=device),
        **caches,
        "block_table": torch.zeros(num_prefills, pages, dtype=torch.int32, device=device),
        **_plans(sizes, device),
        **{f"{name}_cpu": plan for name, plan in _plans(sizes, "cpu").items()},
        "topk_indices": torch.zeros(num_tokens, TOPK, dtype=torch.int32, device=device),
        "attn_sink": torch.zeros(sizes["num_heads"], device=device),
        "window_size": WINDOW_SIZE,
        "compress_ratio": COMPRESS_RATIO,
        "max_model_len": sizes["max_model_len"],
        "max_num_batched_tokens": sizes["max_num_batched_tokens"],
    }


def _plans(sizes: Mapping[str, int], device: torch.device | str) -> dict[str, torch.Tensor]:
    num_prefills, query_len = sizes["num_prefills"], sizes["query_len"]
    before = sizes["context_len"] - query_len
    each = {
        "seq_lens": sizes["context_len"],
        "query_lens": query_len,
        "gather_lens": query_len + min(before, WINDOW_SIZE - 1),
    }
    starts = torch.arange(num_prefills + 1, dtype=torch.int32, device=device) * query_len
    return {
        name: torch.full((num_prefills,), length, dtype=torch.int32, device=device)
        for name, length in each.items()
    } | {"query_start_loc": starts}
