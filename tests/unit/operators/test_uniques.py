"""What it takes on CUDA to find the values that occur, and the runs of them."""

from __future__ import annotations

import torch
from kernel_steps import H200, MI300X, floats, raw_steps

from oom_suite.operators.cuda.cub import runs_bytes, select_bytes
from oom_suite.operators.steps import Take


def test_runs_of_wide_values_are_not_known():
    assert runs_bytes(10, 16) is None


def unique(source, *asked, op="_unique2", kernels=H200):
    found = (source, source.long(), source.long())
    return raw_steps(f"aten::{op}", source, *asked, result=found, kernels=kernels)


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
