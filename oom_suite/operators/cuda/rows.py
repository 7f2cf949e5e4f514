"""One value of each row on CUDA, with its place: the k-th, the one in the middle, the commonest.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/Sorting.cpp`` (``kthvalue_out_cuda``,
``median_with_indices_impl``), ``TensorModeKernel.cpp`` (``mode_kernel_impl``),
``TensorModeKernel.cu`` (``ModeImpl``, which calls Thrust for a long row).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from oom_suite.operators.cuda.cub import (
    SORT,
    THRUST,
    counted_runs_bytes,
    extrema_bytes,
    find_bytes,
    merge_sort_bytes,
    resident_blocks,
    thrust_sort_bytes,
)
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
    """Short rows are looked through by a block each; long ones are sorted, one after the other."""
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
        inside = _long_row(call, length, source.element_size())
        if inside is None:
            return None
        steps += inside
    return [*steps, Give("rows")]


def _long_row(call: Call, length: int, width: int) -> list[Step] | None:
    """Its entries in order, each once with its count, and where the one with the most stands.

    How many differ is in the data: at most all of them, or as many as their type has.
    """
    kernels = call.kernels
    if not kernels.has_cub:
        return None
    num_blocks = resident_blocks(
        kernels.num_multiprocessors, kernels.max_threads_per_multiprocessor
    )
    find = [*call.temporary(find_bytes(num_blocks), THRUST)]
    if call.input.dtype is torch.bool:
        # There are two values: they are counted where they are.
        return find
    is_merged = call.input.dtype in _HALF
    taken = merge_sort_bytes if is_merged else thrust_sort_bytes
    sort_bytes = taken(length, width, _INDEX_BYTES)
    if sort_bytes is None:
        return None
    most = min(length, 256**width)
    largest = max(counted_runs_bytes(length), extrema_bytes(most, num_blocks))
    return [
        Take("places", length * _INDEX_BYTES, call.op),
        *call.temporary(sort_bytes, SORT),
        Take("different", most * width, call.op, is_bound=True),
        Take("counts", most * _INDEX_BYTES, call.op, is_bound=True),
        *call.temporary(largest, THRUST, is_bound=True),
        *find,
        *(Give(name) for name in ("counts", "different", "places")),
    ]


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::kthvalue": _of_rows,
    "aten::median": _of_rows,
    "aten::nanmedian": _of_rows,
    "aten::mode": _mode,
}
