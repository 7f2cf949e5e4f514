from __future__ import annotations

import pytest
import torch

from oom_suite.workloads.sparse_mla.caches.poison import (
    LARGE,
    NAN,
    distance_bytes,
    named_slots,
    referenced_spans,
    unreferenced,
)
from oom_suite.workloads.sparse_mla.caches.pools import paged_pool
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4


def test_only_counting_entries_name_slots():
    """Padding and entries behind lens name nothing; a middle dimension of one changes nothing."""
    indices = torch.tensor([[[3, -1, 5]], [[7, 8, 9]]])
    assert {3, 7} == named_slots(indices, torch.tensor([2, 1]))


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


@pytest.mark.parametrize(
    ("first", "num_bytes", "expected"), [(8, 2, 1), (7, 2, 2), (20, 1, 1), (12, 1, 0), (40, 1, 11)]
)
def test_the_distance_is_one_for_a_neighbour(first, num_bytes, expected):
    """Bytes that touch the span are 1 away, bytes inside it 0; the nearer of two spans counts."""
    assert expected == distance_bytes(first, num_bytes, [(10, 20), (25, 30)])


def test_the_poisons_are_what_they_say():
    """NaN in every format of the cache, and finite in every format."""
    nan = torch.full((2,), NAN.byte, dtype=torch.uint8)
    large = torch.full((2,), LARGE.byte, dtype=torch.uint8)
    for dtype in (torch.float8_e4m3fn, torch.float8_e8m0fnu, torch.bfloat16):
        assert bool(nan.view(dtype).float().isnan().all())
        assert bool(large.view(dtype).float().isfinite().all())
    assert 448.0 == float(large.view(torch.float8_e4m3fn)[0])
    assert 224.0 == float(large.view(torch.float8_e4m3fnuz)[0])
