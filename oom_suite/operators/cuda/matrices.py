"""Products and factorizations on CUDA: what torch itself makes beside the libraries' workspaces.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/GroupedBlas.cpp`` (``_grouped_mm_cuda``),
``cuda/GroupMM.cu`` (``bf16bf16_grouped_gemm_impl_sm90_sm100``), ``native/GroupedMMUtils.h``
(``_grouped_mm_fallback``); CUTLASS 4.2 ``gemm/collective/
sm90_mma_array_tma_gmma_ss_warpspecialized.hpp`` and ``epilogue/collective/
sm90_epilogue_array_tma_warpspecialized.hpp``, ``get_workspace_size``; PyTorch 2.11 and 2.13
``native/BatchLinearAlgebra.cpp`` (``lu_unpack_out``, ``cholesky``, ``linalg_cholesky_ex_out``,
``triangular_solve_out``, ``linalg_solve_triangular_out``, ``_linalg_check_errors``),
``cuda/linalg/BatchLinearAlgebra.cpp`` (``triangular_solve_kernel``),
``cuda/linalg/BatchLinearAlgebraLib.cpp`` (``cholesky_helper_cusolver``),
``cuda/linalg/BatchLinearAlgebraLibBlas.cpp`` (``get_device_pointers``).

What cuSOLVER or MAGMA takes for one matrix, it says itself: such calls are named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from oom_suite.operators.cuda import reductions
from oom_suite.operators.cuda.lu import num_matrices, pointers
from oom_suite.operators.kernels import Call
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oom_suite.operators.steps import Step

_POINTER_BYTES = 8
_SHAPE_BYTES = 3 * 4
_DESCRIPTOR_BYTES = 128
_INDEX_BYTES = 8
_STATUS_BYTES = 4
_FEW, _LARGE, _LARGE_FOR_CUBLAS = 8, 64, 512
_DESCRIPTORS = 4
"""Of both inputs, and of the result for each of two groups of warps."""


def _grouped(call: Call) -> Iterable[Step] | None:
    """A product for each group: in one kernel of CUTLASS, or group by group, in the result."""
    left, right = call.args[:2]
    if left.dtype is not torch.bfloat16 or right.dtype is not torch.bfloat16:
        return list(call.results())
    if call.kernels.backend != "cuda" or call.kernels.arch != "sm_90":
        return None
    offsets = call.argument(2, "offs")
    count = left.shape[0] if offsets is None else offsets.shape[0]
    even = count + count % 2
    arguments = 3 * even * _POINTER_BYTES + count * _SHAPE_BYTES + 3 * count * _POINTER_BYTES
    workspace = _DESCRIPTORS * _DESCRIPTOR_BYTES * call.kernels.num_multiprocessors
    return [
        *call.results(),
        Take("arguments", arguments, call.op),
        *call.temporary(workspace),
        Give("arguments"),
    ]


def _lu_unpack(call: Call) -> Iterable[Step] | None:
    """A permutation of each matrix' rows; those of a stack are copies of one range."""
    results = list(call.results())
    stack = call.input
    rows = stack.shape[-2]
    if not call.argument(3, "unpack_pivots", default=True) or not stack.numel():
        return results
    places = Take("places", num_matrices(stack) * rows * _INDEX_BYTES, call.op)
    if stack.dim() == 2:
        return [*results, places, Give("places")]
    one = Take("range", rows * _INDEX_BYTES, call.op)
    return [*results, one, places, Give("range"), Give("places")]


def _check(call: Call) -> Iterable[Step] | None:
    """Whether any matrix went wrong is asked on the device."""
    found = torch.empty((), dtype=torch.bool, device="meta")
    asked = Call("aten::any", (call.input,), {}, found, call.kernels)
    steps = reductions.FORMULAS["aten::any"](asked)
    if steps is None:
        return None
    named = (
        Take("found", step.num_bytes, call.op)
        if isinstance(step, Take) and step.name == 0
        else step
        for step in steps
    )
    return [*named, Give("found")]


def _is_batched_on_cuda(call: Call) -> bool:
    return call.kernels.backend == "cuda" and num_matrices(call.input) > 1


def _cholesky_ex(call: Call) -> Iterable[Step] | None:
    if not call.input.numel():
        return list(call.results())
    if not _is_batched_on_cuda(call):
        return None
    return [*call.results(), *pointers(call, call.input, 1)]


def _cholesky(call: Call) -> Iterable[Step] | None:
    if not call.input.numel() or not _is_batched_on_cuda(call):
        return None
    status = Take("status", num_matrices(call.input) * _STATUS_BYTES, call.op)
    infos = torch.empty(num_matrices(call.input), dtype=torch.int32, device="meta")
    checked = _check(Call(call.op, (infos,), {}, None, call.kernels)) or ()
    return [*call.results(), status, *pointers(call, call.input, 1), *checked, Give("status")]


def _triangular(call: Call, stack: torch.Tensor) -> list[Step] | None:
    """The pointers of both operands, but for few large matrices, which are solved one by one."""
    if call.kernels.backend != "cuda":
        return None
    size = stack.shape[-1]
    if num_matrices(stack) <= _FEW and size >= _LARGE:
        return []
    # Above, a build with MAGMA calls it.
    return pointers(call, stack, 2) if size <= _LARGE_FOR_CUBLAS else None


def _triangular_solve(call: Call) -> Iterable[Step] | None:
    results = list(call.results())
    if not call.input.numel():
        return results
    pointers = _triangular(call, call.result[1])
    return None if pointers is None else [*results, *pointers]


def _solve_triangular(call: Call) -> Iterable[Step] | None:
    """Without copies where both stacks are of one batch, by rows or by columns."""
    matrix, right = call.args[:2]
    is_plain = matrix.shape[:-2] == right.shape[:-2] and (
        matrix.is_contiguous() or matrix.mT.is_contiguous()
    )
    if not is_plain or call.argument(3, "left", default=True) is not True or not right.numel():
        return None
    if not right.is_contiguous() and not right.mT.is_contiguous():
        return None
    pointers = _triangular(call, matrix)
    return None if pointers is None else [*call.results(), *pointers]


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::_grouped_mm": _grouped,
    "aten::_linalg_check_errors": _check,
    "aten::cholesky": _cholesky,
    "aten::linalg_cholesky_ex": _cholesky_ex,
    "aten::linalg_solve_triangular": _solve_triangular,
    "aten::lu_unpack": _lu_unpack,
    "aten::triangular_solve": _triangular_solve,
}
