"""What CUDA's kernels take inside, step by step, at the sizes where another kernel begins."""

from __future__ import annotations

import pytest
import torch

from oom_suite.operators.cuda.cub import (
    half_scan_bytes,
    merge_sort_bytes,
    runs_bytes,
    segmented_sort_bytes,
    select_bytes,
    sort_bytes,
    tiles_bytes,
    together,
)
from oom_suite.operators.cuda.library import (
    scan_storage,
    segmented_sort_storage,
    select_storage,
    sort_storage,
)
from oom_suite.operators.cuda.reduce_config import Reduction, shared_bytes
from oom_suite.operators.inside import inside, is_exact
from oom_suite.operators.kernels import Call, Kernels
from oom_suite.operators.steps import Give, Take

H200 = Kernels()
MI300X = Kernels("rocm", "gfx942", num_multiprocessors=304, warp_size=64)


def steps_of(op, *args, result, kernels=H200, **kwargs):
    """The steps of a call."""
    return inside(Call(op, args, kwargs, result, kernels))


def beside(op, *args, result, kernels=H200, **kwargs):
    """The most bytes alive in a call beside its results; None where that is not known."""
    steps = steps_of(op, *args, result=result, kernels=kernels, **kwargs)
    if steps is None:
        return None
    live, held, most = 0, {}, 0
    for step in steps:
        if isinstance(step, Give):
            live -= held.pop(step.name)
        elif isinstance(step.name, str):
            held[step.name] = step.num_bytes
            live += step.num_bytes
            most = max(most, live)
    assert not held
    return most


def floats(*sizes, dtype=torch.float32):
    """Floats of these sizes that take no memory."""
    return torch.empty(sizes, dtype=dtype, device="meta")


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
        assert not is_exact(steps_of(op, *args, result=result, kernels=MI300X)), op


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
        return steps_of("aten::topk", x, 3, result=(k, k.long()))

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


@pytest.mark.parametrize(
    ("count", "expected"),
    [(130_560, None), (130_561, (64, 4)), (1 << 20, (512, 4)), (1 << 22, (2048, 4))],
    ids=["one block", "the first that share", "1 Mi", "4 Mi"],
)
def test_blocks_that_share_a_sum_keep_partial_results(count, expected):
    """As the issue counted on an H200: 512 to 2,048 bytes for a full sum of floats."""
    assert expected == shared_bytes(floats(count), {0}, Reduction(4), H200)


@pytest.mark.parametrize("sizes", [(), (1,), (1, 1), (0, 4)], ids=str)
def test_one_entry_or_none_is_reduced_without_sharing(sizes):
    assert shared_bytes(floats(*sizes), set(range(len(sizes))), Reduction(4), H200) is None
    assert 0 == beside("aten::max", floats(*sizes), result=floats())


def test_rows_are_summed_without_sharing():
    assert shared_bytes(floats(4096, 256), {1}, Reduction(4), H200) is None


def test_columns_share_where_there_are_few_of_them():
    """Threads side by side hold an output each: what they share is as wide as a block."""
    partial_bytes, semaphore_bytes = shared_bytes(floats(1 << 20, 4), {0}, Reduction(4), H200)
    assert (0, 4) == (partial_bytes % 16, semaphore_bytes)


def test_a_sum_of_truth_values_copies_them_to_int64():
    """Fifteen of them, as an H200 counted: the copy alone."""
    x = torch.empty(3, 5, dtype=torch.bool, device="meta")
    total = torch.empty((), dtype=torch.int64, device="meta")
    assert 15 * 8 == beside("aten::sum", x, result=total)
    assert 15 + 15 * 8 == beside("aten::count_nonzero", floats(3, 5), result=total)
    assert 0 == beside("aten::sum", x.long(), result=total)


def test_a_low_precision_sum_into_float32_copies_nothing():
    low, out = floats(3, 5, dtype=torch.bfloat16), floats()
    assert 0 == beside("aten::sum", low, result=out)
    assert 15 * 8 == beside("aten::sum", low, result=out.double())


LOSSES = {"aten::mse_loss": 500, "aten::smooth_l1_loss": 500, "aten::huber_loss": 500}


@pytest.mark.parametrize(("op", "expected"), LOSSES.items())
def test_a_loss_that_is_reduced_has_one_for_every_element(op, expected):
    x = floats(5, 5, 5)
    assert expected == beside(op, x, x, 1, result=floats())
    assert 0 == beside(op, x, x, 0, result=x.clone())


def test_a_structured_loss_keeps_the_storage_of_all():
    """Its result was made as large as the losses, and shrank in its shape alone."""
    x = floats(5)
    assert Take(0, 20, "aten::mse_loss") == steps_of("aten::mse_loss", x, x, 1, result=floats())[0]
    kept = steps_of("aten::soft_margin_loss", x, x, 1, result=floats())
    assert [20, 4] == [step.num_bytes for step in kept if isinstance(step, Take)]


def test_the_gradient_of_a_softmax_takes_a_product():
    x = floats(5, 10, 5)
    assert 1000 == beside("aten::_softmax_backward_data", x, x, -1, x.dtype, result=x.clone())


def test_a_softmax_copies_what_is_not_contiguous():
    x = floats(8, 16)
    assert 0 == beside("aten::_softmax", x, -1, False, result=x.clone())
    assert 512 == beside("aten::_softmax", x.t(), -1, False, result=x.clone())


def test_a_roll_along_two_dimensions_is_two_rolls():
    x = floats(9, 10)
    assert 360 == beside("aten::roll", x, [4, 5], [0, 1], result=x.clone())
    assert 0 == beside("aten::roll", x, [4], [0], result=x.clone())


def test_a_masked_scatter_counts_into_places():
    """25 entries, as an H200 counted: 1,579 bytes with the result, 25 more for a small mask."""
    x, mask = floats(5, 5), torch.empty(5, 5, dtype=torch.bool, device="meta")
    assert 1579 - 100 == beside("aten::masked_scatter", x, mask, x, result=x.clone())
    assert 1604 - 100 == beside("aten::masked_scatter", x, mask[0], x, result=x.clone())


def test_means_that_are_scattered_are_counted():
    """As an H200 counted: 550 bytes of which 200 are the result's, and 400 of which 100."""
    x, index, source = floats(10, 5), floats(5, 5).long(), floats(5, 5)
    args = (x, 0, index, source)
    assert 350 == beside("aten::scatter_reduce", *args, "mean", result=x.clone())
    assert 0 == beside("aten::scatter_reduce", *args, "sum", result=x.clone())
    x, places, source = floats(5, 5), floats(10).long(), floats(5, 10)
    args = (x, 1, places, source)
    assert 300 == beside("aten::index_reduce", *args, "mean", result=x.clone())
    assert 0 == beside("aten::index_reduce", *args, "amax", result=x.clone())


def test_nonzero_takes_its_length_and_two_scratches_one_after_the_other():
    mask, found = torch.empty(64, dtype=torch.bool, device="meta"), floats(3, 1).long()
    assert 4 + 1023 == beside("aten::nonzero", mask, result=found)
    many = mask.new_empty(4097)
    steps = steps_of("aten::nonzero", many, result=found)
    sizes = [step.num_bytes for step in steps if isinstance(step, Take)]
    assert [4, 132 * 8 * 5 * 4, 24, tiles_bytes(4097, 4224)] == sizes
    assert not is_exact(steps)


def test_an_operator_written_in_place_makes_no_result():
    x, mask = floats(5, 5), torch.empty(5, 5, dtype=torch.bool, device="meta")
    steps = steps_of("aten::masked_scatter_", x, mask, x, result=x)
    assert [200, 1279] == [step.num_bytes for step in steps if isinstance(step, Take)]


def test_the_buffer_of_a_log_sigmoid_is_the_cpus_alone():
    x = floats(20)
    steps = steps_of("aten::log_sigmoid_forward", x, result=(x.clone(), x.clone()))
    assert (Take(0, 80, "aten::log_sigmoid_forward"),) == steps


def test_sizes_that_share_an_allocation_are_aligned_each():
    assert 2 * 256 + 255 == together(1, 256)
    assert 3 * 256 + 255 == together(1, 257)


def test_an_operator_without_a_formula_is_not_known():
    x = floats(4, 4)
    assert steps_of("aten::linalg_qr", x, result=(x, x)) is None


def test_indices_of_unlike_strides_are_copied_each_in_full():
    """Rows beside columns: both as large as the result, eight bytes an entry."""
    x, rows, columns = floats(8, 16), floats(4, 1).long(), floats(1, 5).long()
    assert 2 * 20 * 8 == beside("aten::index", x, [rows, columns], result=floats(4, 5))
    assert 0 == beside("aten::index", x, [rows, rows], result=floats(4, 1))
    assert 4 * 8 == beside("aten::index", x, [rows.int()], result=floats(4, 1, 16))


def test_a_write_that_adds_sorts_its_places():
    """Two of five rows, as an H200 counted: 65 bytes beside the copy."""
    x, rows, values = floats(5, 5), floats(2).long(), floats(2, 5)
    args = (x, [rows], values)
    assert 65 == beside("aten::index_put", *args, accumulate=True, result=x.clone())
    assert 0 == beside("aten::index_put", *args, accumulate=False, result=x.clone())
    one_for_all = (x, [rows], values[0])
    assert 65 + 40 == beside("aten::index_put", *one_for_all, accumulate=True, result=x.clone())


def test_the_gradient_of_few_lookups_takes_nothing():
    """From 3,073 on they are sorted, and each piece of ten has a sum of its own."""

    def gradient(count):
        grad, rows = floats(count, 64), floats(count).long()
        args = (grad, rows, 10**6, -1, False)
        return beside("aten::embedding_dense_backward", *args, result=floats(10**6, 64))

    num_pieces = 3073 // 10 + 3073
    assert 0 == gradient(3072)
    assert num_pieces * 64 * 4 + 5 * 3073 * 8 + num_pieces * 8 + 16 == gradient(3073)


@pytest.mark.parametrize(
    ("num_bytes", "expected"),
    [
        (lambda: runs_bytes(768, 8), together(33 * 16)),
        (lambda: runs_bytes(769, 8), together(34 * 16)),
        (lambda: runs_bytes(16_777_216, 8), 350_463),
        (lambda: half_scan_bytes(3840), together(together(33 * 4, 33 * 2, 33 * 2))),
        (lambda: half_scan_bytes(3841 * 64), together(together(97 * 4, 97 * 2, 97 * 2))),
        (lambda: half_scan_bytes(16_777_216), 36_095),
        (lambda: merge_sort_bytes(4352, 2, 8), together(8704, 34_816, 8)),
        (lambda: merge_sort_bytes(4353, 2, 8), together(8706, 34_824, 12)),
        (lambda: select_bytes(5632, 2), tiles_bytes(1, 1)),
        (lambda: select_bytes(5632 * 64 + 1, 1), tiles_bytes(65, 1)),
    ],
)
def test_cub_s_scratch_grows_tile_by_tile(num_bytes, expected):
    """The figures without a formula are an H200's (torch 2.11.0+cu130)."""
    assert expected == num_bytes()


def test_runs_of_wide_values_are_not_known():
    assert runs_bytes(10, 16) is None


def unique(source, *asked, op="_unique2", kernels=H200):
    found = (source, source.long(), source.long())
    return steps_of(f"aten::{op}", source, *asked, result=found, kernels=kernels)


def named(steps):
    return [(each.name, each.num_bytes) for each in steps if isinstance(each, Take)]


def test_counts_keep_a_number_for_every_entry():
    taken = named(unique(floats(5), True, False, True))
    assert [("sorted", 20), ("cub::DeviceRadixSort", 1), (0, 20), ("length", 8), (2, 40)] == taken[
        :5
    ]
    assert [("cub::DeviceRunLengthEncode", runs_bytes(5, 4))] == taken[5:]


def test_runs_are_not_sorted_and_their_sums_begin_as_narrow_numbers():
    taken = named(unique(floats(5), True, False, op="unique_consecutive"))
    select = ("cub::DeviceSelect", select_bytes(5, 4))
    scan = ("cub::DeviceScan", 1023)
    assert [(1, 40), ("sums", 20), scan, (0, 20), ("length", 8), select] == taken


def test_truth_values_have_two_results_of_two():
    taken = named(unique(floats(4096, dtype=torch.bool), True, False, False))
    assert [("true entries", 4), ("cub::DeviceReduce", 1), (0, 2), (2, 16)] == taken
    inverted = named(unique(floats(9, dtype=torch.bool), True, True, True))
    assert [("true entries", 4), ("cub::DeviceReduce", 1), (0, 2), (2, 16), (1, 72)] == inverted
    assert unique(floats(4097, dtype=torch.bool), True, False, False) is None


def test_runs_of_truth_values_are_looked_through_like_others():
    taken = named(unique(floats(9, dtype=torch.bool), op="unique_consecutive"))
    assert [(0, 9), ("length", 8), ("cub::DeviceSelect", 1023)] == taken


def test_unique_of_slices_and_counts_of_other_libraries_are_not_known():
    assert unique(floats(4, 4), False, False, 0, op="unique_consecutive") is None
    assert unique(floats(5), True, False, True, kernels=MI300X) is None
    assert unique(floats(5), True, False, False, kernels=MI300X) is not None


def test_nothing_is_unique_without_a_sort():
    steps = unique(floats(0), True, True, True)
    assert {0} == {each.num_bytes for each in steps}


def grouped(num_groups, dtype=torch.bfloat16, kernels=H200, rows=64):
    """The bytes beside the result of a product for each group of rows."""
    left, right = floats(rows, 32, dtype=dtype), floats(num_groups, 32, 16, dtype=dtype)
    offs = torch.empty(num_groups, dtype=torch.int32, device="meta")
    result = floats(rows, 16, dtype=dtype)
    return beside("aten::_grouped_mm", left, right, offs, result=result, kernels=kernels)


def test_a_grouped_product_takes_its_arguments_and_four_descriptors_a_processor():
    """An even number of each kind of pointer; shapes and strides of each group."""
    workspace = 132 * 4 * 128
    assert 240 + workspace == grouped(4)
    assert 4 * 3 * 8 + 3 * 12 + 3 * 24 + workspace == grouped(3)
    assert grouped(4) == grouped(4, rows=4096)


def test_a_grouped_product_of_other_types_is_made_group_by_group():
    assert 0 == grouped(4, torch.float32)
    assert 0 == grouped(4, torch.float16, kernels=MI300X)
    assert grouped(4, kernels=MI300X) is None


def test_a_grouped_product_of_two_stacks_has_a_group_for_each():
    left, right = (floats(4, *sizes, dtype=torch.bfloat16) for sizes in ((8, 32), (32, 16)))
    result = floats(4, 8, 16, dtype=torch.bfloat16)
    assert grouped(4) == beside("aten::_grouped_mm", left, right, result=result)
