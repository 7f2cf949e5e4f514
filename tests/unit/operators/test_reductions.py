"""What the blocks of a reduction on CUDA share, and what is copied for them."""

from __future__ import annotations

import pytest
import torch
from kernel_steps import BOOL, DOUBLE, HALF, MANY, MI300X, floats, places, shared, steps


@pytest.mark.parametrize(
    ("op", "partial_bytes"),
    [
        *((name, 4) for name in ("sum", "mean", "nansum", "prod", "amax", "amin", "max", "min")),
        *((name, 16) for name in ("argmax", "argmin", "std", "var")),
        *((name, 1) for name in ("any", "all")),
    ],
)
def test_128_blocks_share_a_reduction_of_a_million_floats(op, partial_bytes):
    """A partial result is a float, a value with its place or a count with its moments, or a bit."""
    expected = f"+4:0 {shared(128 * partial_bytes)}"
    assert expected == steps(op, floats(MANY), result=floats())


@pytest.mark.parametrize(("op", "partial_bytes"), [("aminmax", 8), ("std_mean", 16)])
def test_two_results_of_one_reduction_share_their_blocks(op, partial_bytes):
    result = (floats(), floats())
    assert f"+4:0 +4:1 {shared(128 * partial_bytes)}" == steps(op, floats(MANY), result=result)


@pytest.mark.parametrize(
    ("op", "args", "partial_bytes"),
    [
        ("sum", ([0],), 4),
        ("sum", ([-2],), 4),
        ("amax", ([0],), 4),
        ("any", ([0],), 1),
        ("std", ([0],), 16),
        ("linalg_vector_norm", (2, [0]), 4),
        ("norm", (2, [0]), 4),
    ],
)
def test_columns_are_shared_by_blocks_of_all_columns(op, args, partial_bytes):
    """A block has 16 threads for each of 4 columns, and 128 blocks share them."""
    x = floats(MANY, 4)
    expected = f"+16:0 {shared(128 * 4 * 16 * partial_bytes)}"
    assert expected == steps(op, x, *args, result=floats(4))


@pytest.mark.parametrize(
    ("op", "args"),
    [("sum", ([],)), ("sum", ([0, 1],)), ("linalg_vector_norm", (2,)), ("sum", (torch.float32,))],
)
def test_no_dimension_is_all_of_them(op, args):
    """An empty list, a type in its place, and a norm without one."""
    x = floats(MANY, 4)
    assert f"+4:0 {shared(512 * 4)}" == steps(op, x, *args, result=floats())


def test_a_deviation_s_correction_is_no_dimension():
    x = floats(MANY, 4)
    assert f"+4:0 {shared(512 * 16)}" == steps("std", x, True, result=floats())


def test_a_product_along_a_dimension_has_one_result_for_each_row():
    x = floats(4, MANY)
    assert f"+16:0 {shared(4 * 128 * 4, 16)}" == steps("prod", x, 1, result=floats(4))


def test_an_extreme_along_a_dimension_has_its_place_beside_it():
    """Sixteen bytes for both; without a dimension, the value alone."""
    result = (floats(4), places(4))
    expected = f"+16:0 +32:1 {shared(128 * 4 * 16 * 16)}"
    assert expected == steps("max", floats(MANY, 4), 0, result=result)


@pytest.mark.parametrize(
    ("op", "dtype", "partial_bytes"),
    [("sum", DOUBLE, 8), ("sum", torch.bfloat16, 4), ("std", DOUBLE, 32), ("std", HALF, 16)],
)
def test_a_partial_result_is_as_wide_as_what_is_computed_in(op, dtype, partial_bytes):
    """Low precision is summed in float32; moments are three of them, and twice as wide doubled."""
    x, out = floats(MANY, dtype=dtype), floats(dtype=dtype)
    assert f"+{out.itemsize}:0 {shared(128 * partial_bytes)}" == steps(op, x, result=out)


def test_a_norm_in_another_type_is_not_known():
    x = floats(4)
    args = (x, 2, None, False)
    assert steps("linalg_vector_norm", *args, DOUBLE, result=floats(dtype=DOUBLE)) is None
    assert steps("linalg_vector_norm", *args, torch.float32, result=floats()) == "+4:0"
    assert steps("linalg_vector_norm", *args, result=floats()) == "+4:0"


def test_nothing_is_reduced_without_blocks():
    for op in ("sum", "any", "count_nonzero"):
        taken = steps(op, floats(0, dtype=BOOL), result=places())
        assert taken == "+8:0"


def test_hip_s_blocks_are_64_or_more_where_any_share():
    sizes = {MANY: 64 * 4, 64 * MANY: 1024 * 4}
    for count, partial_bytes in sizes.items():
        taken = steps("sum", floats(count), result=floats(), kernels=MI300X)
        assert f"+4:0 {shared(partial_bytes)}" == taken
