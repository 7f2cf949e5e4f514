"""What results keep on a CPU, beside what their shapes say: held against the CPU itself."""

from __future__ import annotations

import pytest
import torch

from oom_suite.operators.cpu import inside
from oom_suite.operators.kernels import Call, Kernels

CPU = Kernels("cpu", "", 0, 0, 0)


def stored(*results):
    return [each.untyped_storage().nbytes() for each in results]


def requested(op, args, kwargs, shapes):
    """What is predicted for a call whose results have those shapes; None for what shapes say."""
    made = tuple(torch.empty(shape, dtype=dtype, device="meta") for shape, dtype in shapes)
    steps = inside(Call(op, args, kwargs, made, CPU))
    return None if steps is None else [step.num_bytes for step in steps]


def shapes_of(*results):
    return [(each.shape, each.dtype) for each in results]


@pytest.mark.parametrize(
    "shape", [(5, 3), (2, 7, 3)], ids=["more-equations", "a-batch-of-more-equations"]
)
@pytest.mark.parametrize("driver", ["gelsy", "gelsd"])
def test_a_least_squares_solution_keeps_a_row_for_each_equation(shape, driver):
    matrix, other = torch.randn(shape), torch.randn(*shape[:-1], 4)
    found = torch.ops.aten.linalg_lstsq.default(matrix, other, driver=driver)
    expected = stored(*found)
    assert expected == requested("aten::linalg_lstsq", (matrix, other), {}, shapes_of(*found))


@pytest.mark.parametrize("rows", [3, 2], ids=["as-many", "fewer"])
def test_with_no_more_equations_than_unknowns_the_shapes_say_it(rows):
    matrix, other = torch.randn(rows, 3), torch.randn(rows, 4)
    found = torch.ops.aten.linalg_lstsq.default(matrix, other)
    assert requested("aten::linalg_lstsq", (matrix, other), {}, shapes_of(*found)) is None
    assert [12 * 4, 0, 8, 0] == stored(*found)


@pytest.mark.parametrize("op", ["mse_loss", "smooth_l1_loss", "soft_margin_loss"])
@pytest.mark.parametrize("reduction", [0, 1, 2], ids=["none", "mean", "sum"])
def test_a_loss_that_is_reduced_keeps_every_elements(op, reduction):
    """By position and by name."""
    pair = (torch.rand(6, 2), torch.rand(6, 2))
    found = getattr(torch.ops.aten, op).default(*pair, reduction=reduction)
    expected = stored(found) if reduction else None
    assert expected == requested(f"aten::{op}", (*pair, reduction), {}, shapes_of(found))
    by_name = {"reduction": reduction}
    assert expected == requested(f"aten::{op}", pair, by_name, shapes_of(found))
    assert stored(found) == [6 * 2 * 4]


def test_an_operator_whose_shapes_say_it_has_no_formula():
    x = torch.ones(3)
    assert requested("aten::add", (x, x), {}, shapes_of(x + x)) is None
