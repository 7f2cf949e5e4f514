"""Top-k sampling: only the chosen logits are normalised."""

from __future__ import annotations

import torch

from oom_suite import memory_law

AXES = {"num_tokens": 8, "vocab": 512}
# Some 4 KiB a token are tensors; the rest is what a GPU counts in where rows are long.
BOUND = "64KiB*num_tokens + 64KiB"


def sample(logits):
    top = logits.topk(40)
    choice = torch.multinomial(top.values.softmax(-1), 1)
    return top.indices.gather(-1, choice)


def sample_everything(logits):
    least = logits.topk(40).values[:, -1:]
    return torch.multinomial(logits.masked_fill(logits < least, -1e9).softmax(-1), 1)


@memory_law(axes=AXES, at_most=BOUND, lower={"vocab": 64}, production={"vocab": 152_064})
def test_sampling_takes_the_chosen_logits_alone(sizes, device):
    """Sampling among the best forty takes a bounded number of bytes for each token."""
    logits = torch.ones(sizes.num_tokens, sizes.vocab, device=device)
    return lambda: sample(logits)


def grown(sizes, device):
    logits = torch.ones(sizes.num_tokens, sizes.vocab, device=device)
    return lambda: sample_everything(logits)


def test_a_softmax_over_the_vocabulary_is_caught(oom_law):
    """A masked softmax over all logits grows with the vocabulary."""
    result = oom_law.judge(
        grown, axes=AXES, at_most=BOUND, lower={"vocab": 64}, production={"vocab": 152_064}
    )
    assert "FAIL" == result.verdict.value
    assert "vocab" in result.law.axes
