"""Appending keys to a paged KV cache: the slots named are touched, and nothing of the pool."""

from __future__ import annotations

import torch

from oom_suite import memory_law

AXES = {"num_blocks": 64, "num_tokens": 8}


def append(cache, slots, keys):
    cache.view(-1, cache.shape[-1])[slots] = keys.to(cache.dtype)


def append_out_of_place(cache, slots, keys):
    cache.copy_(cache.view(-1, 64).index_copy(0, slots, keys.to(cache.dtype)).view_as(cache))


def inputs(sizes, device):
    cache = torch.empty(sizes.num_blocks, 16, 64, dtype=torch.bfloat16, device=device)
    slots = torch.arange(sizes.num_tokens, device=device)
    return cache, slots, torch.empty(sizes.num_tokens, 64, device=device)


@memory_law(
    axes=AXES,
    independent_of="num_blocks",
    production={"num_blocks": 221_839},
    law="128*num_tokens",
)
def test_append_takes_nothing_of_the_pool(sizes, device):
    """An append takes the new keys in the cache's type, whatever the pool's size."""
    given = inputs(sizes, device)
    return lambda: append(*given)


def grown(sizes, device):
    given = inputs(sizes, device)
    return lambda: append_out_of_place(*given)


def test_out_of_place_append_is_caught(oom_law):
    """An append that copies the cache grows with the pool, 2,048 bytes a block."""
    result = oom_law.judge(grown, axes=AXES, independent_of="num_blocks")
    assert "FAIL" == result.verdict.value
    assert "peak grows with num_blocks (2,048 bytes per block)" == result.reason
