"""LU decompositions of stacks of small matrices on CUDA, and what is solved with them.

Both ways that torch has chosen between cuBLAS and others lead to cuBLAS there: with pointers to
each matrix and no workspace. One matrix alone goes to cuSOLVER, which says itself what it takes.

Source: PyTorch 2.11 and 2.13 ``aten/src/ATen/native/BatchLinearAlgebra.cpp``
(``linalg_lu_factor_ex_out``, ``linalg_lu_solve_out``, ``_linalg_solve_ex_out``,
``linalg_solve_ex_out``, ``linalg_inv_ex_out``), ``native/LinearAlgebra.cpp`` (``_linalg_det_out``,
``_linalg_slogdet_out``, ``lu_det_P``), ``cuda/linalg/BatchLinearAlgebra.cpp`` (``lu_factor``,
``lu_solve_kernel``), ``cuda/linalg/BatchLinearAlgebraLibBlas.cpp``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from oom_suite.operators.cuda.reductions import summed
from oom_suite.operators.kernels import num_bytes
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step

_POINTER_BYTES = 8
_INDEX_BYTES = 4
_SMALL, _SMALLEST = 16, 8
_MANY = 64
"""Matrices of a stack from which a build with MAGMA calls it for transposed systems."""


def num_matrices(stack: torch.Tensor) -> int:
    """How many matrices lie in a stack."""
    return math.prod(stack.shape[:-2])


def pointers(call: Call, stack: torch.Tensor, num_operands: int) -> list[Step]:
    """An array of pointers to each operand's matrices, for a kernel that takes all at once."""
    count = num_matrices(stack) * _POINTER_BYTES
    takes: list[Step] = [Take(f"array {n}", count, call.op) for n in range(num_operands)]
    return [*takes, *(Give(f"array {n}") for n in range(num_operands))]


def _is_small_stack(call: Call, stack: torch.Tensor) -> bool:
    """Whether cuBLAS decomposes all matrices at once, in every version."""
    rows, columns = stack.shape[-2:]
    is_square = rows == columns and 0 < rows <= _SMALL
    return call.kernels.backend == "cuda" and is_square and num_matrices(stack) > 1


def _solved(call: Call, stack: torch.Tensor, num_columns: int, *, adjoint: bool) -> bool:
    """Whether cuBLAS solves all systems at once, in every version."""
    size = stack.shape[-1]
    fits = size <= _SMALLEST or (size <= _SMALL and size == num_columns)
    few = not adjoint or num_matrices(stack) < _MANY
    return call.kernels.backend == "cuda" and fits and few


def _factor(call: Call) -> Iterable[Step] | None:
    has_pivots = call.argument(1, "pivot", default=True)
    if not has_pivots or not _is_small_stack(call, call.input):
        return None
    return [*call.results(), *pointers(call, call.input, 1)]


def _solve(call: Call) -> Iterable[Step] | None:
    """With a decomposition that is there; it is copied where it does not lie by columns."""
    stack, pivots, right = call.args[:3]
    left = call.argument(3, "left", default=True)
    adjoint = bool(call.argument(4, "adjoint", default=False)) == bool(left)
    num_columns = right.shape[-1] if left else right.shape[-2]
    is_plain = right.numel() and stack.shape[:-2] == right.shape[:-2] and pivots.is_contiguous()
    if not is_plain or not _solved(call, stack, num_columns, adjoint=adjoint):
        return None
    steps: list[Step] = [*call.results()]
    is_copied = not stack.mT.is_contiguous()
    if is_copied:
        steps.append(Take("by columns", num_bytes(stack), call.op))
    steps += pointers(call, stack, 2)
    return [*steps, Give("by columns")] if is_copied else steps


def _is_transposed(matrix: torch.Tensor) -> bool:
    """Whether torch decomposes the transpose, which saves a copy."""
    return matrix.is_contiguous() and not matrix.is_complex()


def _solve_ex(call: Call) -> Iterable[Step] | None:
    matrix, right = call.args[:2]
    is_plain = (
        right.dim() == matrix.dim()
        and right.shape[:-2] == matrix.shape[:-2]
        and call.argument(2, "left", default=True)
        and not call.argument(3, "check_errors", default=False)
        and right.numel()
    )
    if not is_plain or not _is_small_stack(call, matrix):
        return None
    if not _solved(call, matrix, right.shape[-1], adjoint=_is_transposed(matrix)):
        return None
    return [*call.results(), *pointers(call, matrix, 1), *pointers(call, matrix, 2)]


def _inverse(call: Call) -> Iterable[Step] | None:
    """The solution for the unit matrix, beside a decomposition that is not kept."""
    matrix = call.input
    if call.argument(1, "check_errors", default=False) or not _is_small_stack(call, matrix):
        return None
    if not _solved(call, matrix, matrix.shape[-1], adjoint=_is_transposed(matrix)):
        return None
    pivots = num_matrices(matrix) * matrix.shape[-1] * _INDEX_BYTES
    return [
        *call.results(),
        Take("decomposition", num_bytes(matrix), call.op),
        Take("pivots", pivots, call.op),
        *pointers(call, matrix, 1),
        *pointers(call, matrix, 2),
        Give("pivots"),
        Give("decomposition"),
    ]


def _determinant(*, is_signed: bool) -> Callable[[Call], Iterable[Step] | None]:
    """From a decomposition: how many rows were exchanged, and the product of the diagonal."""

    def steps(call: Call) -> Iterable[Step] | None:
        matrix = call.input
        if not _is_small_stack(call, matrix):
            return None
        count, size = num_matrices(matrix), matrix.shape[-1]
        exchanged = torch.empty((count, size), dtype=torch.bool, device="meta")
        product = Take("product", count * matrix.element_size(), call.op)
        found: list[Step] = [
            *call.results(),
            Take("status", count * _INDEX_BYTES, call.op),
            *pointers(call, matrix, 1),
        ]
        if is_signed:
            found.append(product)
        found += [
            Take("range", size * _INDEX_BYTES, call.op),
            Take("exchanged", num_bytes(exchanged), call.op),
            Take("number", count * 8, call.op),
            *_closed(summed(exchanged, [-1], torch.int64, call)),
            Give("exchanged"),
            Give("range"),
        ]
        if not is_signed:
            found += _of_signs(call, matrix)
        ends = ("number", "product", "status") if is_signed else ("number", "status")
        return [*found, *(Give(name) for name in ends)]

    return steps


def _of_signs(call: Call, matrix: torch.Tensor) -> list[Step]:
    """Signs of the diagonal and their product; then its logarithms."""
    width = matrix.element_size()
    each = num_matrices(matrix) * matrix.shape[-1] * width
    return [
        Take("signs", each, call.op),
        *call.temporary(num_matrices(matrix) * width, "product"),
        Give("signs"),
        *call.temporary(each, "logarithms"),
    ]


def _closed(steps: Iterable[Step]) -> list[Step]:
    """Steps, with the free of what they leave alive."""
    found, alive = list(steps), dict[str, None]()
    for step in found:
        if isinstance(step, Give):
            alive.pop(step.name, None)
        elif isinstance(step.name, str):
            alive[step.name] = None
    return [*found, *map(Give, alive)]


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::_linalg_det": _determinant(is_signed=True),
    "aten::_linalg_slogdet": _determinant(is_signed=False),
    "aten::_linalg_solve_ex": _solve_ex,
    "aten::linalg_inv_ex": _inverse,
    "aten::linalg_lu_factor_ex": _factor,
    "aten::linalg_lu_solve": _solve,
}
