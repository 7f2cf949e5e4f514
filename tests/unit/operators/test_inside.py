"""What CUDA's kernels take inside, step by step, at the sizes where another kernel begins."""

from __future__ import annotations

import pytest
import torch
from kernel_steps import H200, beside, floats, raw_steps

from oom_suite.operators.cuda.cub import (
    half_scan_bytes,
    merge_sort_bytes,
    runs_bytes,
    select_bytes,
    tiles_bytes,
    together,
)
from oom_suite.operators.cuda.reduce_config import Reduction, shared_bytes
from oom_suite.operators.inside import is_exact
from oom_suite.operators.steps import Take


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
    assert Take(0, 20, "aten::mse_loss") == raw_steps("aten::mse_loss", x, x, 1, result=floats())[0]
    kept = raw_steps("aten::soft_margin_loss", x, x, 1, result=floats())
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
    steps = raw_steps("aten::nonzero", many, result=found)
    sizes = [step.num_bytes for step in steps if isinstance(step, Take)]
    assert [4, 132 * 8 * 5 * 4, 24, tiles_bytes(4097, 4224)] == sizes
    assert not is_exact(steps)


def test_an_operator_written_in_place_makes_no_result():
    x, mask = floats(5, 5), torch.empty(5, 5, dtype=torch.bool, device="meta")
    steps = raw_steps("aten::masked_scatter_", x, mask, x, result=x)
    assert [200, 1279] == [step.num_bytes for step in steps if isinstance(step, Take)]


def test_the_buffer_of_a_log_sigmoid_is_the_cpus_alone():
    x = floats(20)
    steps = raw_steps("aten::log_sigmoid_forward", x, result=(x.clone(), x.clone()))
    assert (Take(0, 80, "aten::log_sigmoid_forward"),) == steps


def test_sizes_that_share_an_allocation_are_aligned_each():
    assert 2 * 256 + 255 == together(1, 256)
    assert 3 * 256 + 255 == together(1, 257)


def test_an_operator_without_a_formula_is_not_known():
    x = floats(4, 4)
    assert raw_steps("aten::linalg_qr", x, result=(x, x)) is None


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
        (lambda: merge_sort_bytes(4352 * 64, 2, 8), together(557_056, 2_228_224, 65 * 4)),
        (lambda: select_bytes(5632, 2), tiles_bytes(1, 1)),
        (lambda: select_bytes(5632 * 64 + 1, 1), tiles_bytes(65, 1)),
    ],
)
def test_cub_s_scratch_grows_tile_by_tile(num_bytes, expected):
    """The figures without a formula are an H200's (torch 2.11.0+cu130)."""
    assert expected == num_bytes()
