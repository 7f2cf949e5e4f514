"""Attention over long contexts: an online softmax needs no score for every key at once."""

from __future__ import annotations

import torch

from oom_suite import memory_law

AXES = {"num_queries": 4, "num_keys": 256}
CHUNK = 64


def attention(q, k, v):
    return (q @ k.T).softmax(-1) @ v


def streaming_attention(q, k, v):
    out = torch.zeros_like(q)
    top = q.new_full((q.shape[0], 1), -1e30)
    total = q.new_zeros(q.shape[0], 1)
    for keys, values in zip(k.split(CHUNK), v.split(CHUNK), strict=True):
        scores = q @ keys.T
        new_top = torch.maximum(top, scores.amax(-1, keepdim=True))
        scores.sub_(new_top).exp_()
        scale = top.sub_(new_top).exp_()
        total.mul_(scale).add_(scores.sum(-1, keepdim=True))
        out.mul_(scale).addmm_(scores, values)
        top = new_top
        del scores, new_top, scale
    return out.div_(total)


def inputs(sizes, device):
    return [torch.ones(n, 32, device=device) for n in (sizes.num_queries, *[sizes.num_keys] * 2)]


@memory_law(
    axes=AXES,
    steps={"num_keys": CHUNK},
    far={"num_keys": (3 * CHUNK, 8 * CHUNK, 32 * CHUNK)},
    lower={"num_keys": 3 * CHUNK},
    independent_of="num_keys",
    law="400*num_queries",
)
def test_streaming_attention_is_independent_of_the_context(sizes, device):
    """An online softmax takes the same for any three or more chunks of keys."""
    given = inputs(sizes, device)
    return lambda: streaming_attention(*given)


def grown(sizes, device):
    given = inputs(sizes, device)
    return lambda: attention(*given)


def test_full_scores_are_caught(oom_law):
    """Scores in full grow with every key, twice four bytes for each query."""
    result = oom_law.judge(grown, axes=AXES, independent_of="num_keys")
    assert "FAIL" == result.verdict.value
    assert "peak grows with num_keys (32 bytes per key)" == result.reason
