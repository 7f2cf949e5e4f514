"""The inputs of a prompt that fills the caches of a model's layers, at any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD_DIM = 128


def build(sizes: Mapping[str, int], device: torch.device | str) -> dict[str, Any]:
    """Keys and values of a prompt, the same for every layer.

    Args:
        sizes: ``batch``, ``num_heads`` (of keys), ``prompt_len``, ``num_layers``, ``window`` and
            ``max_len``.
        device: where everything lies.

    Returns:
        ``key_states`` and ``value_states`` bfloat16 [batch, num_heads, prompt_len, 128], and the
        numbers of the cache.
    """
    shape = (sizes["batch"], sizes["num_heads"], sizes["prompt_len"], HEAD_DIM)
    return {
        "key_states": torch.zeros(shape, dtype=torch.bfloat16, device=device),
        "value_states": torch.zeros(shape, dtype=torch.bfloat16, device=device),
        "num_layers": sizes["num_layers"],
        "window": sizes["window"],
        "max_len": sizes["max_len"],
    }
