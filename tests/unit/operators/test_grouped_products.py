"""What a product for each group of rows takes inside."""

from __future__ import annotations

import torch
from kernel_steps import H200, MI300X, beside, floats


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
