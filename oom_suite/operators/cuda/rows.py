"""One value of each row on CUDA, with its place: the k-th, the one in the middle, the commonest.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/Sorting.cpp`` (``kthvalue_out_cuda``,
``median_with_indices_impl``), ``TensorModeKernel.cpp`` (``mode_kernel_impl``),
``TensorModeKernel.cu`` (``ModeImpl``); CUB 3.0 ``dispatch_merge_sort.cuh``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from oom_suite.operators.cuda.cub import SORT, merge_sort_bytes
from oom_suite.operators.cuda.library import sort_storage
from oom_suite.operators.kernels import num_bytes
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step

_INDEX_BYTES = 8
_LARGEST_BLOCK = {"cuda": 1024, "rocm": 256}
"""Threads of a block, each of which takes two entries of a row."""

_HALF = frozenset({torch.float16, torch.bfloat16})


def _of_rows(call: Call) -> Iterable[Step] | None:
    """One value of each row, which has to be contiguous, with its place."""
    if isinstance(call.result, torch.Tensor):
        return None
    source = call.input
    copied = 0 if source.is_contiguous() or not source.dim() else num_bytes(source)
    copy = [Take("contiguous", copied, call.op)] if copied else []
    return [*copy, *call.results(), *(Give("contiguous") for _ in copy)]


def _mode(call: Call) -> Iterable[Step] | None:
    """Short rows are looked through by a block each; long ones are sorted, one after the other.

    What Thrust takes beside a sort is not known; for rows of some 10,000 entries it is less.
    """
    source, dim = call.input, call.dim(1)
    steps: list[Step] = [*call.results()]
    length = source.shape[dim] if source.dim() else 1
    if not source.numel() or length == 1:
        return steps
    rows = source.transpose(dim, -1)
    is_long = length > 2 * _LARGEST_BLOCK[call.kernels.backend]
    if not is_long and rows.is_contiguous():
        return steps
    steps.append(Take("rows", num_bytes(source), call.op))
    if is_long:
        inside = _sorted_row(call, length, source.element_size())
        if inside is None:
            return None
        steps += inside
    return [*steps, Give("rows")]


def _sorted_row(call: Call, length: int, width: int) -> list[Step] | None:
    places = Take("places", length * _INDEX_BYTES, call.op)
    if not call.kernels.has_cub or call.input.dtype is torch.bool:
        return None
    if call.input.dtype in _HALF:
        merged = call.temporary(merge_sort_bytes(length, width, _INDEX_BYTES), SORT)
        return [places, *merged, Give("places")]
    storage = sort_storage(call.kernels, length, width, _INDEX_BYTES)
    return None if storage is None else [places, *storage.steps(), Give("places")]


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::kthvalue": _of_rows,
    "aten::median": _of_rows,
    "aten::nanmedian": _of_rows,
    "aten::mode": _mode,
}
