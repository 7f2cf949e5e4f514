"""The inputs of sampling's steps, at any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping


def build_top_k_top_p(sizes: Mapping[str, int], device: torch.device | str) -> dict[str, Any]:
    """Logits float32 [num_rows, vocab_size], ``k`` int32 [num_rows], ``p`` float32 [num_rows]."""
    num_rows = sizes["num_rows"]
    return {
        "logits": torch.zeros(num_rows, sizes["vocab_size"], device=device),
        "k": torch.full((num_rows,), 50, dtype=torch.int32, device=device),
        "p": torch.full((num_rows,), 0.9, device=device),
    }


def build_penalties(sizes: Mapping[str, int], device: torch.device | str) -> dict[str, Any]:
    """Logits, the tokens of prompts and outputs, and three penalties for each row.

    Args:
        sizes: ``num_rows``, ``vocab_size``, ``prompt_len`` and ``output_len``.
        device: where everything lies.

    Returns:
        ``logits`` float32 [num_rows, vocab_size]; ``prompt_tokens_tensor`` and
        ``output_tokens_tensor`` int64 [num_rows, length]; penalties float32 [num_rows].
    """
    num_rows = sizes["num_rows"]
    penalties = ("presence_penalties", "frequency_penalties", "repetition_penalties")
    tokens = {
        f"{name}_tokens_tensor": torch.zeros(
            num_rows, sizes[f"{name}_len"], dtype=torch.int64, device=device
        )
        for name in ("prompt", "output")
    }
    return {
        "logits": torch.zeros(num_rows, sizes["vocab_size"], device=device),
        **tokens,
        **{name: torch.ones(num_rows, device=device) for name in penalties},
    }


def build_logprobs(sizes: Mapping[str, int], device: torch.device | str) -> dict[str, Any]:
    """Logits bfloat16 [num_rows, vocab_size], ``token_ids`` int64 [num_rows], ``num_logprobs``."""
    num_rows = sizes["num_rows"]
    return {
        "logits": torch.zeros(num_rows, sizes["vocab_size"], dtype=torch.bfloat16, device=device),
        "num_logprobs": sizes["num_logprobs"],
        "token_ids": torch.zeros(num_rows, dtype=torch.int64, device=device),
    }
