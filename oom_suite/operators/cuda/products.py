"""Products on CUDA: a copy of each operand whose strides cuBLAS cannot be given.

cuBLAS takes a matrix that lies by rows or by columns, with gaps between those at most. A gradient
that a sum spreads out, with strides of 0, is neither.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/cuBlasCommonArgs.h``
(``prepare_matrix_for_cublas``), ``cuda/Blas.cpp`` (``prepare_batch_matrix_for_cublas``,
``bmm_out_cuda_impl``, ``addmv_out_cuda``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.operators.kernels import num_bytes
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import torch

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step


def _lies_by(strides: Sequence[int], fast: int, slow: int, length: int) -> bool:
    """Whether entries follow one another in one dimension, and rows of them do not overlap."""
    return strides[fast] == 1 and strides[slow] >= max(1, length)


def _is_matrix(matrix: torch.Tensor) -> bool:
    """Whether cuBLAS can be given a matrix as it lies."""
    if matrix.is_contiguous() or matrix.t().is_contiguous():
        return True
    (rows, columns), strides = matrix.shape, matrix.stride()
    return _lies_by(strides, 0, 1, rows) or _lies_by(strides, 1, 0, columns)


def _is_batch(batch: torch.Tensor, slow: int, short: int, long: int) -> bool:
    """Whether cuBLAS can be given the matrices of a batch as they lie.

    Args:
        batch: [batch, rows, columns].
        slow: the dimension whose steps are the leading ones, as the result lies.
        short: the length of a row, where it lies as the result does.
        long: the same where it lies the other way.
    """
    strides, fast = batch.stride(), 3 - slow
    if _lies_by(strides, fast, slow, short) or _lies_by(strides, slow, fast, long):
        return True
    return batch.is_contiguous() and 0 not in strides[1:]


def _matrices(first: int) -> Callable[[Call], Iterable[Step]]:
    """Two matrices, from that argument on."""

    def steps(call: Call) -> Iterable[Step]:
        pair = [call.args[place] for place in (first, first + 1)]
        return _with_copies(call, [matrix for matrix in pair if not _is_matrix(matrix)])

    return steps


def _batches(first: int) -> Callable[[Call], Iterable[Step]]:
    """Two batches of matrices, from that argument on."""

    def steps(call: Call) -> Iterable[Step]:
        one, other = (call.args[place] for place in (first, first + 1))
        rows, inner, columns = one.shape[1], one.shape[2], other.shape[2]
        if columns == 1:
            # The result is one column, and lies by it.
            fits = _is_batch(one, 2, rows, inner), _is_batch(other, 2, inner, columns)
        else:
            fits = _is_batch(one, 1, inner, rows), _is_batch(other, 1, columns, inner)
        pair = zip((one, other), fits, strict=True)
        return _with_copies(call, [batch for batch, is_fit in pair if not is_fit])

    return steps


def _vector(first: int) -> Callable[[Call], Iterable[Step]]:
    """A matrix and a vector: a vector may have steps, but for steps of 0."""

    def steps(call: Call) -> Iterable[Step]:
        matrix, vector = (call.args[place] for place in (first, first + 1))
        strides, (rows, columns) = matrix.stride(), matrix.shape
        is_fit = _lies_by(strides, 0, 1, rows) or _lies_by(strides, 1, 0, columns)
        copied = [vector] if vector.stride(0) == 0 and not vector.is_contiguous() else []
        if not is_fit and not matrix.is_contiguous():
            copied.append(matrix)
        return _with_copies(call, copied)

    return steps


def _with_copies(call: Call, copied: list[torch.Tensor]) -> Iterable[Step]:
    is_empty = any(0 in operand.shape for operand in copied)
    takes = [Take(f"operand {n}", num_bytes(each), call.op) for n, each in enumerate(copied)]
    takes = [] if is_empty else takes
    gives = [Give(str(take.name)) for take in reversed(takes)]
    return [*call.results(), *takes, *gives]


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::mm": _matrices(0),
    "aten::addmm": _matrices(1),
    "aten::_addmm_activation": _matrices(1),
    "aten::bmm": _batches(0),
    "aten::baddbmm": _batches(1),
    "aten::mv": _vector(0),
    "aten::addmv": _vector(1),
}
