"""Sequences of different lengths: packed one after the other, or padded to the longest allowed."""

from __future__ import annotations

import torch

from oom_suite import memory_law

AXES = {"num_sequences": 4, "num_tokens": 128, "max_length": 256}


def means(tokens, owners, num_sequences):
    total = tokens.new_zeros(num_sequences, tokens.shape[1])
    return total.index_add_(0, owners, tokens)


def means_of_padded(tokens, owners, num_sequences, max_length):
    padded = tokens.new_zeros(num_sequences, max_length, tokens.shape[1])
    padded[owners, torch.zeros_like(owners)] = tokens
    return padded.sum(1)


def inputs(sizes, device):
    owners = torch.zeros(sizes.num_tokens, dtype=torch.int64, device=device)
    return torch.ones(sizes.num_tokens, 32, device=device), owners, sizes.num_sequences


@memory_law(axes=AXES, independent_of=["max_length", "num_tokens"], law="128*num_sequences")
def test_packed_sums_take_one_row_a_sequence(sizes, device):
    """Sums over packed sequences take their result alone."""
    given = inputs(sizes, device)
    return lambda: means(*given)


def grown(sizes, device):
    given = inputs(sizes, device)
    return lambda: means_of_padded(*given, sizes.max_length)


def test_padding_is_caught(oom_law):
    """A padded batch grows with the longest length allowed."""
    result = oom_law.judge(grown, axes=AXES, independent_of="max_length")
    assert "FAIL" == result.verdict.value
    assert "peak grows with max_length (512 bytes per max_length)" == result.reason
