from __future__ import annotations

import pytest
import torch

from oom_suite.workloads.sparse_mla.caches.pools import paged_pool
from oom_suite.workloads.sparse_mla.caches.unreferenced import referenced_spans, unreferenced
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4


@pytest.mark.parametrize("padded", [False, True])
def test_referenced_and_unreferenced_bytes_are_all_bytes_once(padded):
    """Every byte of the pool is in exactly one unreferenced part or one referenced span."""
    pool = paged_pool(3, 4, FP8_DS_MLA_V4, "cpu", padded=padded)
    slots = {1, 2, 7}
    counted = torch.zeros(pool.untyped_storage().nbytes(), dtype=torch.int)
    for part in unreferenced("kv_cache", pool, slots, FP8_DS_MLA_V4):
        counted[part.first_byte : part.first_byte + part.num_bytes] += 1
    for first, end in referenced_spans(pool, slots, FP8_DS_MLA_V4):
        counted[first:end] += 1
    assert {1} == set(counted.tolist())


def test_the_parts_of_a_block_are_named_with_their_bytes():
    """Scales stand apart from the data, and the token's own pad byte is unreferenced."""
    pool = paged_pool(1, 2, FP8_DS_MLA_V4, "cpu")
    parts = [
        (part.what, part.slot, part.first_byte, part.num_bytes)
        for part in unreferenced("kv_cache", pool, {1}, FP8_DS_MLA_V4)
    ]
    assert [
        ("unreferenced token", 0, 0, 576),
        ("unreferenced scales", 0, 1152, 8),
        ("pad byte", 1, 1167, 1),
    ] == parts
