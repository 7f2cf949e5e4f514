"""Beam search: caches reordered layer by layer in place, or all at once."""

from __future__ import annotations

import torch

from oom_suite import memory_law

AXES = {"num_layers": 4, "num_beams": 4, "length": 32}
FAR = {"num_layers": (1, 32)}


def reorder(caches, beams):
    for cache in caches:
        cache.copy_(cache[beams])


def reorder_all(caches, beams):
    caches[:] = [cache[beams] for cache in caches]


def inputs(sizes, device):
    caches = [
        torch.empty(sizes.num_beams, sizes.length, 16, device=device)
        for _ in range(int(sizes.num_layers))
    ]
    return caches, torch.zeros(sizes.num_beams, dtype=torch.int64, device=device)


@memory_law(axes=AXES, independent_of="num_layers", far=FAR, law="64*num_beams*length")
def test_reorder_in_place_takes_one_layer(sizes, device):
    """Reordered in place, one layer's cache is copied at a time."""
    given = inputs(sizes, device)
    return lambda: reorder(*given)


def grown(sizes, device):
    given = inputs(sizes, device)
    return lambda: reorder_all(*given)


def test_reorder_of_all_layers_is_caught(oom_law):
    """A new cache for every layer grows with the layers."""
    result = oom_law.judge(grown, axes=AXES, independent_of="num_layers", far=FAR)
    assert "FAIL" == result.verdict.value
    assert "peak grows with num_layers (8,192 bytes per layer)" == result.reason
