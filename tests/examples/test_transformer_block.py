"""A small transformer: without gradients, a block's activations die with the block."""

from __future__ import annotations

import torch
from torch import nn

from oom_suite import memory_law

AXES = {"num_layers": 3, "num_tokens": 32}
WIDTH = 64


class Block(nn.Module):
    """One pre-norm block with four heads."""

    def __init__(self, device):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH, device=device)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, device=device)
        self.up = nn.Linear(WIDTH, 4 * WIDTH, device=device)
        self.down = nn.Linear(4 * WIDTH, WIDTH, device=device)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).view(-1, 3, 4, WIDTH // 4).permute(1, 2, 0, 3)
        x = x + (torch.softmax(q @ k.transpose(1, 2), -1) @ v).transpose(0, 1).reshape(-1, WIDTH)
        return x + self.down(torch.relu(self.up(x)))


@torch.no_grad()
def run(blocks, x):
    for block in blocks:
        x = block(x)
    return x


@torch.no_grad()
def run_and_keep(blocks, x):
    seen = [x]
    for block in blocks:
        seen.append(block(seen[-1]))
    return seen


def inputs(sizes, device):
    blocks = [Block(device) for _ in range(int(sizes.num_layers))]
    return blocks, torch.ones(sizes.num_tokens, WIDTH, device=device)


@memory_law(axes=AXES, independent_of="num_layers", far={"num_layers": (2, 12)})
def test_inference_is_independent_of_the_depth(sizes, device):
    """From the second block on, depth adds nothing."""
    blocks, x = inputs(sizes, device)
    return lambda: run(blocks, x)


def grown(sizes, device):
    blocks, x = inputs(sizes, device)
    return lambda: run_and_keep(blocks, x)


def test_kept_hidden_states_are_caught(oom_law):
    """Hidden states that are kept grow with the depth."""
    result = oom_law.judge(
        grown, axes=AXES, independent_of="num_layers", far={"num_layers": (2, 12)}
    )
    assert "FAIL" == result.verdict.value
    assert "peak grows with num_layers (8,192 bytes per layer)" == result.reason
