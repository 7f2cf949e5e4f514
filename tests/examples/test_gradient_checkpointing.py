"""Gradient checkpointing: between layers one activation is kept, within a layer all of it once."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from oom_suite import memory_law

AXES = {"num_layers": 4, "num_tokens": 64}
WIDTH = 32
BOUND = "136*num_layers*num_tokens + 2KiB*num_tokens + 16KiB*num_layers"


def inputs(sizes, device):
    def layer():
        up = nn.Linear(WIDTH, 4 * WIDTH, device=device)
        return nn.Sequential(up, nn.GELU(), nn.Linear(4 * WIDTH, WIDTH, device=device))

    layers = nn.ModuleList(layer() for _ in range(int(sizes.num_layers)))
    for parameter in layers.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return layers, torch.ones(sizes.num_tokens, WIDTH, device=device, requires_grad=True)


def train(layers, x, *, keep):
    for layer in layers:
        x = layer(x) if keep else checkpoint(layer, x, use_reentrant=False)
    x.sum().backward()


@memory_law(axes=AXES, at_most=BOUND, far={"num_layers": (1, 24)})
def test_checkpointed_layers_keep_their_input_alone(sizes, device):
    """Forward and backward take one activation a layer, and one layer's own."""
    layers, x = inputs(sizes, device)
    return lambda: train(layers, x, keep=False)


def grown(sizes, device):
    layers, x = inputs(sizes, device)
    return lambda: train(layers, x, keep=True)


def test_activations_of_every_layer_are_caught(oom_law):
    """Without checkpoints every layer's wide activations are alive when backward begins."""
    result = oom_law.judge(grown, axes=AXES, at_most=BOUND, far={"num_layers": (1, 24)})
    assert "FAIL" == result.verdict.value
    assert "num_layers*num_tokens" in str(result.law)
