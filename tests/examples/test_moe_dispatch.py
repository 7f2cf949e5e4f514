"""Mixture of experts: tokens sorted by expert, or a buffer with room for all at each."""

from __future__ import annotations

import torch

from oom_suite import memory_law

AXES = {"num_tokens": 32, "num_experts": 8}


def dispatch(hidden, experts):
    order = experts.argsort()
    return hidden[order], order


def dispatch_to_buffers(hidden, experts, num_experts):
    buffers = hidden.new_zeros(num_experts, *hidden.shape)
    buffers[experts, torch.arange(len(hidden), device=hidden.device)] = hidden
    return buffers


def inputs(sizes, device):
    hidden = torch.ones(sizes.num_tokens, 64, device=device)
    return hidden, torch.arange(sizes.num_tokens, device=device) % sizes.num_experts


@memory_law(axes=AXES, independent_of="num_experts", production={"num_experts": 256})
def test_sorted_dispatch_is_independent_of_the_experts(sizes, device):
    """Tokens sorted by expert take one copy of each token."""
    hidden, experts = inputs(sizes, device)
    return lambda: dispatch(hidden, experts)


def grown(sizes, device):
    hidden, experts = inputs(sizes, device)
    return lambda: dispatch_to_buffers(hidden, experts, sizes.num_experts)


def test_a_buffer_for_every_expert_is_caught(oom_law):
    """Room for every token at every expert grows with the experts."""
    result = oom_law.judge(grown, axes=AXES, independent_of="num_experts")
    assert "FAIL" == result.verdict.value
    assert "peak grows with num_experts (8,192 bytes per expert)" == result.reason
