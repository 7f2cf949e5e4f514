"""The inputs of the indexer's logits, at any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD_DIM = 128
SCALE_BYTES = 4
"""A float32 for the 128 fp8 values of a key.

Source: vLLM 0.21.0 `vllm/v1/attention/ops/rocm_aiter_mla_sparse.py:228` (both figures).
"""


def build_decode(sizes: Mapping[str, int], device: torch.device | str) -> dict[str, Any]:
    """One decode step over a paged cache of keys, each request of the same context.

    Block numbers go round the pool, so that they are valid in one of any size.

    Args:
        sizes: ``num_blocks``, ``block_size``, ``batch``, ``next_n``, ``num_heads``,
            ``context_len`` and ``max_model_len``, the last two in whole blocks.
        device: where everything lies.

    Returns:
        ``q`` e4m3fn [batch, next_n, num_heads, 128]; ``kv_cache`` uint8
        [num_blocks, block_size, 1, 132]; ``weights`` float32 [batch * next_n, num_heads];
        ``context_lens`` int32 [batch]; ``block_tables`` int32 [batch, blocks of a context];
        ``max_model_len``.
    """
    batch, next_n, num_heads = sizes["batch"], sizes["next_n"], sizes["num_heads"]
    num_blocks, block_size = sizes["num_blocks"], sizes["block_size"]
    blocks_of_each = sizes["context_len"] // block_size
    numbers = torch.arange(batch * blocks_of_each, dtype=torch.int32, device=device)
    return {
        "q": _fp8(batch, next_n, num_heads, HEAD_DIM, device=device),
        "kv_cache": torch.empty(
            num_blocks, block_size, 1, HEAD_DIM + SCALE_BYTES, dtype=torch.uint8, device=device
        ),
        "weights": torch.zeros(batch * next_n, num_heads, device=device),
        "context_lens": torch.full(
            (batch,), sizes["context_len"], dtype=torch.int32, device=device
        ),
        "block_tables": (numbers % num_blocks).view(batch, blocks_of_each),
        "max_model_len": sizes["max_model_len"],
    }


def build_prefill(sizes: Mapping[str, int], device: torch.device | str) -> dict[str, Any]:
    """One chunk of a prefill: every token of it is scored against all keys of its request.

    Args:
        sizes: ``num_tokens``, ``context_len`` and ``num_heads``.
        device: where everything lies.

    Returns:
        ``q`` e4m3fn [num_tokens, num_heads, 128]; ``kv``, keys e4m3fn [context_len, 128] and
        their scales float32 [context_len]; ``weights`` float32 [num_tokens, num_heads];
        ``cu_seqlen_ks`` and ``cu_seqlen_ke`` int32 [num_tokens].
    """
    num_tokens, context_len = sizes["num_tokens"], sizes["context_len"]
    keys = (
        _fp8(context_len, HEAD_DIM, device=device),
        torch.zeros(context_len, device=device),
    )
    return {
        "q": _fp8(num_tokens, sizes["num_heads"], HEAD_DIM, device=device),
        "kv": keys,
        "weights": torch.zeros(num_tokens, sizes["num_heads"], device=device),
        "cu_seqlen_ks": torch.zeros(num_tokens, dtype=torch.int32, device=device),
        "cu_seqlen_ke": torch.full((num_tokens,), context_len, dtype=torch.int32, device=device),
    }


def _fp8(*shape: int, device: torch.device | str) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.float8_e4m3fn, device=device)
