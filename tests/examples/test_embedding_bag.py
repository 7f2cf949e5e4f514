"""A bag of embeddings: the rows named are read, not the table."""

from __future__ import annotations

import torch
from torch.nn import functional

from oom_suite import memory_law

AXES = {"vocab": 1024, "num_tokens": 4}
PER_BAG = 10


def bag(table, ids):
    return functional.embedding(ids, table).float().mean(1)


def bag_of_wide_rows(table, ids):
    return functional.embedding(ids, table.float()).mean(1)


def inputs(sizes, device):
    table = torch.ones(sizes.vocab, 32, dtype=torch.bfloat16, device=device)
    return table, torch.zeros(sizes.num_tokens, PER_BAG, dtype=torch.int64, device=device)


@memory_law(axes=AXES, independent_of="vocab", law="1920*num_tokens")
def test_a_bag_is_independent_of_the_table(sizes, device):
    """A bag takes its own rows, in both types, and its mean."""
    table, ids = inputs(sizes, device)
    return lambda: bag(table, ids)


def grown(sizes, device):
    table, ids = inputs(sizes, device)
    return lambda: bag_of_wide_rows(table, ids)


def test_a_widened_table_is_caught(oom_law):
    """Widening the table before the lookup grows with the vocabulary."""
    result = oom_law.judge(grown, axes=AXES, independent_of="vocab")
    assert "FAIL" == result.verdict.value
    assert "peak grows with vocab (128 bytes per vocab)" == result.reason
