"""Linear algebra on CUDA: torch's own copies and pointers, and where a workspace begins."""

from __future__ import annotations

import pytest

from tests.unit.operators.kernel_steps import DOUBLE, H200, INT32, MI300X, floats, steps_of_new

STACK = floats(3, 5, 5)
POINTERS = 3 * 8


def columns(*sizes):
    """A stack that lies by columns."""
    return floats(*sizes[:-2], sizes[-1], sizes[-2]).mT


def int32(*sizes):
    return floats(*sizes, dtype=INT32)


def array(number, num_bytes=POINTERS):
    return f"+{num_bytes}:array_{number}"


ONE = f"{array(0)} -array_0"
TWO = f"{array(0)} {array(1)} -array_0 -array_1"


def factors(stack):
    return columns(*stack.shape), int32(*stack.shape[:-1]), int32(*stack.shape[:-2])


def factored(stack, kernels=None, **kwargs):
    return steps_of_new(
        "linalg_lu_factor_ex",
        stack,
        *kwargs.values(),
        result=factors(stack),
        kernels=kernels or H200,
    )


def test_a_stack_of_small_matrices_is_decomposed_by_pointers():
    assert f"+300:0 +60:1 +12:2 {ONE}" == factored(STACK)


@pytest.mark.parametrize(
    "stack",
    [floats(5, 5), floats(1, 5, 5), floats(3, 17, 17), floats(3, 7, 5)],
    ids=["one", "a stack of one", "large", "not square"],
)
def test_what_another_library_decomposes_is_named(stack):
    assert factored(stack) is None


def test_the_largest_that_every_version_gives_to_cublas():
    assert factored(floats(3, 16, 16)) is not None


def test_without_pivots_and_on_rocm_it_is_named():
    assert factored(STACK, pivot=False) is None
    assert factored(STACK, kernels=MI300X) is None


def solved(stack, right, *more):
    result = columns(*right.shape)
    return steps_of_new(
        "linalg_lu_solve", stack, int32(*stack.shape[:-1]), right, *more, result=result
    )


def test_systems_are_solved_by_pointers_to_both():
    assert f"+120:0 {TWO}" == solved(columns(3, 5, 5), floats(3, 5, 2))


def test_a_decomposition_by_rows_is_copied():
    assert f"+120:0 +300:by_columns {TWO} -by_columns" == solved(STACK, floats(3, 5, 2))


def test_how_large_systems_may_be():
    """Up to 8; up to 16 where there are as many right sides."""
    assert solved(columns(3, 8, 8), floats(3, 8, 2)) is not None
    assert solved(columns(3, 9, 9), floats(3, 9, 2)) is None
    assert solved(columns(3, 16, 16), floats(3, 16, 16)) is not None
    assert solved(columns(3, 17, 17), floats(3, 17, 17)) is None


def test_many_transposed_systems_are_magmas_in_some_builds():
    stack, right = columns(64, 5, 5), floats(64, 5, 2)
    assert solved(stack, right, True, False) is not None
    assert solved(stack, right, True, True) is None
    assert solved(stack, right.mT.contiguous(), False, True) is not None
    assert solved(columns(63, 5, 5), floats(63, 5, 2), True, True) is not None


def test_stacks_that_are_spread_out_are_named():
    assert solved(columns(1, 5, 5), floats(3, 5, 2)) is None
    right = floats(3, 5, 2)
    pivots = int32(5, 3).T
    assert steps_of_new("linalg_lu_solve", columns(3, 5, 5), pivots, right, result=right) is None


def test_a_system_is_decomposed_and_then_solved():
    result = (columns(3, 5, 2), *factors(STACK))
    found = steps_of_new("_linalg_solve_ex", STACK, floats(3, 5, 2), result=result)
    assert f"+120:0 +300:1 +60:2 +12:3 {ONE} {TWO}" == found


@pytest.mark.parametrize(
    ("stack", "right", "more"),
    [
        (STACK, floats(3, 5), ()),
        (STACK, floats(3, 5, 2), (False,)),
        (STACK, floats(3, 5, 2), (True, True)),
        (floats(5, 5), floats(5, 2), ()),
        (floats(3, 9, 9), floats(3, 9, 2), ()),
    ],
    ids=["a vector", "from the right", "checked", "one matrix", "large"],
)
def test_other_systems_are_named(stack, right, more):
    result = (right, *factors(stack))
    assert steps_of_new("_linalg_solve_ex", stack, right, *more, result=result) is None


def test_an_inverse_takes_a_decomposition_that_is_not_kept():
    expected = f"+300:0 +12:1 +300:decomposition +60:pivots {ONE} {TWO} -pivots -decomposition"
    assert expected == steps_of_new("linalg_inv_ex", STACK, result=(STACK, int32(3)))
    assert steps_of_new("linalg_inv_ex", STACK, True, result=(STACK, int32(3))) is None
    one = floats(5, 5)
    assert steps_of_new("linalg_inv_ex", one, result=(one, int32())) is None
    many = floats(64, 5, 5)
    assert steps_of_new("linalg_inv_ex", many, result=(many, int32(64))) is None


def test_a_determinant_counts_exchanged_rows():
    result = (floats(3), columns(3, 5, 5), int32(3, 5))
    expected = (
        f"+12:0 +300:1 +60:2 +12:status {ONE} +12:product +20:range +15:exchanged +24:number "
        "+120:copy -copy -exchanged -range -number -product -status"
    )
    assert expected == steps_of_new("_linalg_det", STACK, result=result)
    one = floats(5, 5)
    assert steps_of_new("_linalg_det", one, result=(floats(), one, int32(5))) is None


def test_its_logarithm_has_signs_and_logarithms_of_the_diagonal():
    result = (floats(3), floats(3), columns(3, 5, 5), int32(3, 5))
    expected = (
        f"+12:0 +12:1 +300:2 +60:3 +12:status {ONE} +20:range +15:exchanged +24:number "
        "+120:copy -copy -exchanged -range +60:signs +12:product -product -signs "
        "+60:logarithms -logarithms -number -status"
    )
    assert expected == steps_of_new("_linalg_slogdet", STACK, result=result)


def unpacked(*sizes, more=()):
    result = (floats(*sizes), floats(*sizes), floats(*sizes))
    return steps_of_new("lu_unpack", floats(*sizes), int32(*sizes[:-1]), *more, result=result)


def test_permutations_of_a_stack_are_copies_of_one_range():
    results = "+300:0 +300:1 +300:2"
    assert f"{results} +40:range +120:places -range -places" == unpacked(3, 5, 5)
    assert results == unpacked(3, 5, 5, more=(True, False))
    assert "+100:0 +100:1 +100:2 +40:places -places" == unpacked(5, 5)


def test_whether_any_went_wrong_is_one_truth():
    assert "+1:found -found" == steps_of_new(
        "_linalg_check_errors", int32(3), "cholesky", result=None
    )


def test_a_stack_of_cholesky_decompositions_has_pointers():
    assert f"+300:0 +12:1 {ONE}" == steps_of_new(
        "linalg_cholesky_ex", STACK, result=(STACK, int32(3))
    )
    found = steps_of_new("cholesky", STACK, result=STACK)
    assert f"+300:0 +12:status {ONE} +1:found -found -status" == found


def test_one_cholesky_decomposition_is_named():
    for one in (floats(5, 5), floats(1, 5, 5)):
        assert steps_of_new("linalg_cholesky_ex", one, result=(one, int32(1))) is None
        assert steps_of_new("cholesky", one, result=one) is None
    assert (
        steps_of_new("linalg_cholesky_ex", STACK, result=(STACK, int32(3)), kernels=MI300X) is None
    )
    none = floats(0, 5, 5)
    assert "+0:0 +0:1" == steps_of_new("linalg_cholesky_ex", none, result=(none, int32(0)))


def triangular(matrix, right, *more, kernels=H200):
    return steps_of_new(
        "linalg_solve_triangular", matrix, right, *more, result=right, kernels=kernels
    )


def test_triangular_systems_have_pointers_to_both():
    assert f"+120:0 {TWO}" == triangular(STACK, floats(3, 5, 2))
    assert f"+40:0 {array(0, 8)} {array(1, 8)} -array_0 -array_1" == triangular(
        floats(5, 5), floats(5, 2)
    )


def test_few_large_triangular_systems_are_solved_one_by_one():
    assert triangular(floats(8, 63, 63), floats(8, 63, 2)).count("array_0") == 2
    assert "+4096:0" == triangular(floats(8, 64, 64), floats(8, 64, 2))
    assert triangular(floats(9, 64, 64), floats(9, 64, 2)).count("array_0") == 2


def test_many_of_more_than_512_are_magmas_in_some_builds():
    assert triangular(floats(9, 512, 512), floats(9, 512, 2)) is not None
    assert triangular(floats(9, 513, 513), floats(9, 513, 2)) is None


@pytest.mark.parametrize(
    ("matrix", "right", "more"),
    [
        (floats(1, 5, 5), floats(3, 5, 2), ()),
        (floats(5, 5, 3).permute(2, 0, 1), floats(3, 5, 2), ()),
        (STACK, floats(5, 2, 3).permute(2, 0, 1), ()),
        (STACK, floats(3, 2, 5), (True, False)),
    ],
    ids=["spread out", "matrices strided", "right sides strided", "from the right"],
)
def test_triangular_systems_that_are_copied_are_named(matrix, right, more):
    assert triangular(matrix, right, *more) is None


def test_the_older_triangular_solve_keeps_its_matrix():
    result = (columns(3, 5, 2), columns(3, 5, 5))
    found = steps_of_new("triangular_solve", floats(3, 5, 2), STACK, result=result)
    assert f"+120:0 +300:1 {TWO}" == found
    none = floats(3, 5, 0)
    assert "+0:0 +300:1" == steps_of_new("triangular_solve", none, STACK, result=(none, STACK))
    assert steps_of_new("triangular_solve", *result, result=result, kernels=MI300X) is None


def test_doubles_are_twice_as_large():
    wide = floats(3, 5, 5, dtype=DOUBLE)
    found = steps_of_new(
        "linalg_lu_solve", wide, int32(3, 5), floats(3, 5, 2, dtype=DOUBLE), result=wide
    )
    assert "+600:by_columns" in found
