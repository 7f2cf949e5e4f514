"""Cross-entropy over a large vocabulary: logits of a few tokens at a time."""

from __future__ import annotations

import torch
from torch.nn import functional

from oom_suite import memory_law

AXES = {"num_tokens": 64, "vocab": 512}
CHUNK = 16


@torch.no_grad()
def chunked_loss(hidden, weight, targets):
    total = hidden.new_zeros(())
    for rows, wanted in zip(hidden.split(CHUNK), targets.split(CHUNK), strict=True):
        logits = rows @ weight.T
        chosen = logits.gather(1, wanted[:, None])[:, 0]
        total += (logits.logsumexp(-1) - chosen).sum()
    return total / len(targets)


@torch.no_grad()
def loss(hidden, weight, targets):
    return functional.cross_entropy(hidden @ weight.T, targets)


def inputs(sizes, device):
    hidden = torch.ones(sizes.num_tokens, 32, device=device)
    weight = torch.ones(sizes.vocab, 32, device=device)
    return hidden, weight, torch.zeros(sizes.num_tokens, dtype=torch.int64, device=device)


@memory_law(
    axes=AXES,
    steps={"num_tokens": CHUNK},
    far={"num_tokens": (CHUNK, 32 * CHUNK)},
    lower={"num_tokens": CHUNK},
    linear_in=["num_tokens", "vocab"],
)
def test_chunked_loss_has_no_product_of_tokens_and_vocabulary(sizes, device):
    """A loss by chunks never holds a logit for every token and word."""
    given = inputs(sizes, device)
    return lambda: chunked_loss(*given)


def grown(sizes, device):
    given = inputs(sizes, device)
    return lambda: loss(*given)


def test_full_logits_are_caught(oom_law):
    """Logits in full are a product of tokens and vocabulary."""
    result = oom_law.judge(grown, axes=AXES, linear_in=["num_tokens", "vocab"])
    assert "FAIL" == result.verdict.value
    assert result.reason.startswith("not at most linear in num_tokens, vocab: ")
