"""What torch.unique does on CUDA: a sort, a sum where it is inverted, a selection.

Source: PyTorch 2.11 ``aten/src/ATen/native/cuda/UniqueCub.cu``, ``compute_unique`` and
``UniqueCub``; ``aten/src/ATen/cuda/cub.cuh``, ``CUB_WRAPPER``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from oom_suite.operators.cuda.library import select_storage, sort_storage, sum_storage
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from oom_suite.operators.cuda.library import Storage
    from oom_suite.operators.kernels import Call, Kernels
    from oom_suite.operators.steps import Step

_INDEX_BYTES = 8


def unique(call: Call) -> Iterable[Step] | None:
    """The steps for int32 and int64 without counts; None for other calls."""
    values = call.input
    with_inverse = bool(call.argument(2, "return_inverse", False))
    with_counts = bool(call.argument(3, "return_counts", False))
    known = values.dtype in {torch.int32, torch.int64}
    if with_counts or not known or values.numel() == 0 or len(call.result) < 2:
        return None
    count, width = values.numel(), values.element_size()
    is_copied = not values.is_contiguous()
    kernels = call.kernels
    steps = _unique_steps(kernels, count, width, with_inverse=with_inverse, is_copied=is_copied)
    return tuple(steps)


def _unique_steps(
    kernels: Kernels, count: int, width: int, *, with_inverse: bool, is_copied: bool
) -> Iterator[Step]:
    op = "aten::_unique2"
    if is_copied:
        yield Take("copy", count * width, op)
    yield Take("sorted", count * width, op)
    if with_inverse:
        yield Take("range", count * _INDEX_BYTES, op)
        yield Take("places", count * _INDEX_BYTES, op)
        yield from _scratch(sort_storage(kernels, count, width, _INDEX_BYTES))
        yield Give("range")
        yield Take(1, count * _INDEX_BYTES, op)
        yield Take("sums", count * _INDEX_BYTES, op)
        yield from _scratch(sum_storage(kernels, count, 4))
        yield Give("sums")
    else:
        yield from _scratch(sort_storage(kernels, count, width, 0))
    yield Take(0, count * width, op)
    yield Take("length", _INDEX_BYTES, op)
    yield from _scratch(select_storage(kernels, count, width))
    yield Give("length")
    if with_inverse:
        yield Give("places")
    yield Give("sorted")
    if is_copied:
        yield Give("copy")


def _scratch(storage: Storage | None) -> Iterator[Step]:
    assert storage is not None
    yield from storage.steps()
