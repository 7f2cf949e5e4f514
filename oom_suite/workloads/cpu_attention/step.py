"""The inputs of DeepSeek-V4's attention on a CPU, at any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD_DIM = 512
WINDOW_SIZE = 128
PAGE_TOKENS = 256


def build(sizes: Mapping[str, int], device: torch.device | str) -> dict[str, Any]:
    """Tokens of one request, the last ones of its context.

    Args:
        sizes: ``num_blocks``, ``num_tokens``, ``num_heads``, ``context_len``,
            ``compress_ratio`` and ``max_model_len``.
        device: where everything lies.

    Returns:
        ``q`` and ``output`` bfloat16 [num_tokens, num_heads, 512]; ``positions`` int64
        [num_tokens]; ``token_to_request`` int32 [num_tokens]; ``block_table`` int32
        [1, pages of a context]; ``swa_k_cache`` bfloat16 [num_blocks, 256, 512] and
        ``compressed_k_cache`` [num_blocks, 256 / compress_ratio, 512]; ``attn_sink`` float32
        [num_heads]; and the numbers of the model and the server.
    """
    num_tokens, num_blocks = sizes["num_tokens"], sizes["num_blocks"]
    shape = (num_tokens, sizes["num_heads"], HEAD_DIM)
    half: dict[str, Any] = {"dtype": torch.bfloat16, "device": device}
    whole: dict[str, Any] = {"dtype": torch.int32, "device": device}
    ratio = sizes["compress_ratio"]
    first = sizes["context_len"] - num_tokens
    return {
        "q": torch.zeros(shape, **half),
        "output": torch.zeros(shape, **half),
        "positions": torch.arange(num_tokens, device=device) + first,
        "token_to_request": torch.zeros(num_tokens, **whole),
        "block_table": torch.zeros(1, -(-sizes["context_len"] // PAGE_TOKENS), **whole),
        "swa_k_cache": torch.empty(num_blocks, PAGE_TOKENS, HEAD_DIM, **half),
        "compressed_k_cache": torch.empty(num_blocks, PAGE_TOKENS // ratio, HEAD_DIM, **half),
        "attn_sink": torch.zeros(sizes["num_heads"], device=device),
        "window_size": WINDOW_SIZE,
        "compress_ratio": ratio,
        "max_model_len": sizes["max_model_len"],
    }
