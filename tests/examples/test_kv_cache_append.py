"""Appending new keys to a paged KV cache touches the slots named, and nothing of the pool."""

from __future__ import annotations

import torch

from oom_suite import memory_law


def append(cache, slots, keys):
    cache.view(-1, cache.shape[-1])[slots] = keys.to(cache.dtype)


@memory_law(
    axes={"num_blocks": 64, "num_tokens": 8},
    independent_of="num_blocks",
    production={"num_blocks": 221_839},
)
def test_append_is_independent_of_the_pool(sizes, device):
    """What an append takes does not depend on the blocks of the cache."""
    cache = torch.empty(sizes.num_blocks, 16, 64, dtype=torch.bfloat16, device=device)
    slots = torch.arange(sizes.num_tokens, device=device)
    keys = torch.empty(sizes.num_tokens, 64, device=device)
    return lambda: append(cache, slots, keys)
