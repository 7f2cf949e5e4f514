"""An optimizer step: temporaries of one parameter at a time, or of all at once."""

from __future__ import annotations

import torch

from oom_suite import memory_law

AXES = {"num_layers": 4, "width": 64}
FAR = {"num_layers": (2, 12)}


def warmed_up(sizes, device, *, foreach):
    """AdamW over equal layers, its state already there."""
    layers = [
        torch.zeros(sizes.width, sizes.width, device=device, requires_grad=True)
        for _ in range(int(sizes.num_layers))
    ]
    for layer in layers:
        layer.grad = torch.ones_like(layer)
    optimizer = torch.optim.AdamW(layers, foreach=foreach)
    optimizer.step()
    return optimizer.step


@memory_law(axes=AXES, independent_of="num_layers", far=FAR, law="12*width**2")
def test_step_takes_temporaries_of_one_layer(sizes, device):
    """A step layer by layer takes the same for any two or more layers."""
    return warmed_up(sizes, device, foreach=False)


def grown(sizes, device):
    return warmed_up(sizes, device, foreach=True)


def test_temporaries_of_all_layers_are_caught(oom_law):
    """The fused step takes temporaries of every layer at once."""
    result = oom_law.judge(grown, axes=AXES, independent_of="num_layers", far=FAR)
    assert "FAIL" == result.verdict.value
    assert result.reason.startswith("peak grows with num_layers")
