"""What sorts, and selections of the largest, take inside, where another algorithm begins."""

from __future__ import annotations

import pytest
import torch
from kernel_steps import MI300X, beside, floats, raw_steps

from oom_suite.operators.cuda.cub import (
    segmented_sort_bytes,
    sort_bytes,
)
from oom_suite.operators.cuda.library import (
    scan_storage,
    segmented_sort_storage,
    select_storage,
    sort_storage,
)
from oom_suite.operators.inside import is_exact


def sort_beside(*sizes, dtype=torch.float32):
    x = floats(*sizes, dtype=dtype)
    return beside("aten::sort", x, -1, result=(x.clone(), x.long()))


def test_short_rows_are_sorted_in_place_with_one_range_of_places():
    assert 4096 * 8 == sort_beside(16, 4096)
    assert sort_beside(16, 4097) > 16 * 4097 * 8


def test_one_long_row_takes_its_places_and_the_radix_sort():
    """8,000 floats, as an H200 counted them: 266,751 bytes with the results."""
    assert 266_751 - 96_000 == sort_beside(8000)


def test_from_128_rows_each_segment_is_sorted_by_itself():
    """Below, all are sorted together, twice: by value, then by row."""
    few, many = sort_beside(127, 5000), sort_beside(128, 5000)
    assert 128 * 5000 * 8 + segmented_sort_bytes(128 * 5000, 4, 8) == many
    count = 127 * 5000
    assert 2 * count * 8 + count * 4 + sort_bytes(count, 4, 8) == few


def test_rows_of_a_million_are_sorted_one_after_the_other():
    assert 1_000_000 * 8 + sort_bytes(1_000_000, 4, 8) == sort_beside(4, 1_000_000)
    assert sort_beside(4, 999_999) > 4 * 999_999 * 16


def test_a_sort_along_a_strided_dimension_copies_rows_values_and_places():
    x = floats(5000, 200)
    along = beside("aten::sort", x, 0, result=(x.clone(), x.long()))
    assert sort_beside(200, 5000) + 5000 * 200 * (4 + 4 + 8) == along


@pytest.mark.parametrize("count", [5000, 200_000, 5_000_000])
def test_another_librarys_storage_is_bounded(count):
    """The same buffers as CUB's, and no less for counts; not twice as much."""
    x = floats(count)
    places = torch.empty(count, dtype=torch.int64, device="meta")
    calls = [
        ("aten::sort", (x, -1), (x, places)),
        ("aten::_unique2", (places, True, True), (places, places, places[:0])),
        ("aten::nonzero", (x,), floats(count, 1, dtype=torch.int64)),
        ("aten::masked_scatter", (x, x.bool(), x), floats(count)),
        ("aten::cumsum", (x, 0), floats(count)),
    ]
    for op, args, result in calls:
        exact = beside(op, *args, result=result)
        bound = beside(op, *args, result=result, kernels=MI300X)
        assert exact <= bound <= 2 * exact + 100_000 + count, op
        assert not is_exact(raw_steps(op, *args, result=result, kernels=MI300X)), op


def test_a_bound_is_what_the_algorithm_gives():
    """Second buffers, digit counts of blocks of 256 and of 8 places; prefixes of wavefronts."""
    assert (
        1000 * 12 + 8192 + (4 + 1) * 1024 + 8 * 2048 == sort_storage(MI300X, 1000, 4, 8).num_bytes
    )
    assert (2 + 64) * 16 + 8192 == scan_storage(MI300X, 65, 8).num_bytes
    assert (1 + 64) * 16 + 8192 == select_storage(MI300X, 64, 8).num_bytes
    assert 1000 * 12 + 8192 + 16 * 7 == segmented_sort_storage(MI300X, 7, 1000, 4, 8).num_bytes
    assert sort_storage(MI300X, 2**31, 4, 8) is None


def test_rocm_sorts_one_long_row_for_its_largest():
    """From 10,000 entries: all values and places, and the sort; below, and in rows, it selects."""
    long, short, rows = floats(10_000), floats(9_999), floats(2, 10_000)
    kept = floats(8)

    def taken(x):
        return beside("aten::topk", x, 8, -1, result=(kept, kept.long()), kernels=MI300X)

    whole = beside("aten::sort", long, -1, result=(long, long.long()), kernels=MI300X)
    assert 10_000 * 12 + whole == taken(long)
    assert taken(short) < 10_000 * 12
    assert taken(rows) < 10_000 * 12


@pytest.mark.parametrize(
    ("num_slices", "length"),
    [(20, 20_000), (21, 10_000), (41, 8_000), (81, 5_000), (200, 3_000), (800, 800), (4001, 400)],
)
def test_long_rows_are_selected_from_by_several_blocks(num_slices, length):
    """One entry less, and a block for each row needs nothing."""

    def topk(length):
        x, k = floats(num_slices, length), floats(num_slices, 3)
        return raw_steps("aten::topk", x, 3, result=(k, k.long()))

    assert 2 == len(topk(length - 1))
    assert len(topk(length)) > 2
    assert is_exact(topk(length))


def test_top_of_more_than_a_small_sort_is_sorted_again():
    x = floats(1, 8192)
    small, large = (
        beside("aten::topk", x, k, result=(floats(1, k), floats(1, k).long())) for k in (4096, 4097)
    )
    assert (0, True) == (small, large > 4097 * 12)


def test_multinomial_takes_a_quotient_for_every_weight():
    """Without replacement: two flags, the quotients, and what top-k gives beside its places."""
    x, drawn = floats(1, 12), floats(1, 12).long()
    assert 2 + 48 + 48 == beside("aten::multinomial", x, 12, result=drawn)
    assert 2 + 48 == beside("aten::multinomial", x, 1, result=drawn)
    assert 3 * 48 == beside("aten::multinomial", x, 12, True, result=drawn)
    assert 4 == beside("aten::multinomial", x, 1, True, result=drawn)
