"""Layer norm, forward and backward: what autograd saves, and what it must not."""

from __future__ import annotations

import torch
from torch import nn

from oom_suite import memory_law

AXES = {"num_tokens": 32, "hidden": 128}


class CarefulNorm(nn.Module):
    """Normalises by hand, with four temporaries that autograd keeps."""

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        return centred * (centred.square().mean(-1, keepdim=True) + 1e-5).rsqrt()


def step(norm, x):
    norm(x).sum().backward()


@memory_law(axes=AXES, at_most="12*num_tokens*hidden + 16*num_tokens + 16*hidden + 1KiB")
def test_layer_norm_saves_its_input_alone(sizes, device):
    """The fused norm takes its output and the gradient, and two numbers a token."""
    norm = nn.LayerNorm(sizes.hidden, device=device)
    x = torch.ones(sizes.num_tokens, sizes.hidden, device=device, requires_grad=True)
    return lambda: step(norm, x)


def grown(sizes, device):
    x = torch.ones(sizes.num_tokens, sizes.hidden, device=device, requires_grad=True)
    return lambda: step(CarefulNorm(), x)


def test_temporaries_kept_for_backward_are_caught(oom_law):
    """A norm written out keeps more for every token and channel than the fused one."""
    bound = "12*num_tokens*hidden + 16*num_tokens + 16*hidden + 1KiB"
    result = oom_law.judge(grown, axes=AXES, at_most=bound)
    assert "FAIL" == result.verdict.value
    assert "24*num_tokens*hidden" in str(result.law)
