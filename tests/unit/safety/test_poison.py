"""Which slots a step names, and what is put where nothing may be read."""

from __future__ import annotations

import pytest
import torch

from oom_suite.records.workload import Pool
from oom_suite.safety.poison import LARGE, NAN, distance_bytes, named_slots, num_names, width

SLOTS = Pool("pool", "indices", "lens")
BLOCKS = Pool("pool", "indices", "lens", names="blocks")
POOL = torch.zeros(5, 4, 3)


def step(indices, lens):
    return {"pool": POOL, "indices": torch.tensor(indices), "lens": torch.tensor(lens)}


def test_only_counting_entries_name_slots():
    """Padding and entries behind lens name nothing; a middle dimension of one changes nothing."""
    assert {3, 7} == named_slots(SLOTS, step([[[3, -1, 5]], [[7, 8, 9]]], [2, 1]))


def test_without_lens_every_entry_counts():
    assert {3, 5} == named_slots(Pool("pool", "indices"), step([[3, -1, 5]], [0]))


def test_blocks_name_their_slots_as_far_as_lens_count_them():
    """Lens count tokens: the last block of a row is named in part."""
    assert {8, 9, 10, 11, 0} == named_slots(BLOCKS, step([[2, 0, 1]], [5]))
    assert {4} == named_slots(BLOCKS, step([[-1, 1]], [5]))


def test_a_pool_has_as_many_names_as_slots_or_blocks():
    given = step([[2, 0, 1]], [5])
    assert (20, 5) == (num_names(SLOTS, given), num_names(BLOCKS, given))
    assert (3, 12) == (width(SLOTS, given), width(BLOCKS, given))


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
