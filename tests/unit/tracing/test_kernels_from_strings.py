"""Kernels that torch compiles from a string of C++ are run as a GPU would run them."""

from __future__ import annotations

import pytest
import torch
from believed_calls import told


def two_of(*tensors, **numbers):
    """What a kernel of two results gives that torch compiles from a string."""
    code = "template <typename T> T both(T x, T y, T& a, T& b, T by) { a = x * by; b = y; }"
    kernel = torch.cuda.jiterator._create_multi_output_jit_fn(code, num_outputs=2, by=1.0)
    return kernel(*tensors, **numbers)


def test_a_kernel_from_a_string_has_results_of_the_common_shape_and_type():
    shapes = told(lambda x: [(r.shape, r.dtype) for r in two_of(x.int(), x[:, None].half(), by=2)])
    assert [((4, 4), torch.float16)] * 2 == shapes


def test_a_number_in_a_tensor_is_no_wider_than_what_has_dimensions():
    assert torch.float16 == told(lambda x: two_of(x.half(), x.double()[0])[0].dtype)
    assert torch.float64 == told(lambda x: two_of(x.half(), x.double())[0].dtype)


def test_a_kernel_from_a_string_says_what_it_does_not_take():
    with pytest.raises(KeyError, match="of is not declared"):
        told(lambda x: two_of(x, x, of=2))
    assert 2 == len(told(lambda x: two_of(*[x] * 8)))
    with pytest.raises(AssertionError, match="8 inputs at most, not 9"):
        told(lambda x: two_of(*[x] * 9))
