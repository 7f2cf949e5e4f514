"""Rotary embeddings: angles of the positions at hand, not of the whole context window."""

from __future__ import annotations

import torch

from oom_suite import memory_law

AXES = {"num_tokens": 8, "max_position": 1024}


def rotate(x, angles):
    cos, sin = angles.cos(), angles.sin()
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def rotary(x, positions, frequencies, max_position):
    del max_position
    return rotate(x, positions[:, None] * frequencies)


def rotary_from_table(x, positions, frequencies, max_position):
    every = torch.arange(max_position, device=x.device)[:, None] * frequencies
    return rotate(x, every[positions])


def inputs(sizes, device):
    x = torch.ones(sizes.num_tokens, 64, device=device)
    positions = torch.zeros(sizes.num_tokens, dtype=torch.int64, device=device)
    return x, positions, torch.ones(32, device=device), sizes.max_position


@memory_law(axes=AXES, independent_of="max_position", production={"max_position": 131_072})
def test_rotation_is_independent_of_the_window(sizes, device):
    """Angles are made for the tokens at hand."""
    given = inputs(sizes, device)
    return lambda: rotary(*given)


def grown(sizes, device):
    given = inputs(sizes, device)
    return lambda: rotary_from_table(*given)


def test_a_table_made_in_every_step_is_caught(oom_law):
    """A table of all angles, made anew in each step, grows with the window."""
    result = oom_law.judge(grown, axes=AXES, independent_of="max_position")
    assert "FAIL" == result.verdict.value
    assert "max_position" in result.reason
