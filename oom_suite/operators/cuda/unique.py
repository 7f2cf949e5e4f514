"""What torch.unique does on CUDA: a sort, a sum where it is inverted, a selection or a count.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/UniqueCub.cu``, ``compute_unique`` and
``UniqueCub``; ``aten/src/ATen/cuda/cub.cuh``, ``CUB_WRAPPER``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from oom_suite.operators.cuda.cub import REDUCE
from oom_suite.operators.cuda.library import (
    runs_storage,
    select_storage,
    sort_storage,
    sum_storage,
)
from oom_suite.operators.kernels import num_bytes
from oom_suite.operators.operands import tensors
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step

_INDEX_BYTES = 8
_RUN_BYTES = 4
_SMALL_REDUCTION = 4096
"""Entries that CUB adds up in one block."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is wanted of a call, and the places of its results."""

    call: Call
    is_sorted: bool
    with_inverse: bool
    with_counts: bool

    @property
    def count(self) -> int:
        return self.call.input.numel()

    @property
    def width(self) -> int:
        return self.call.input.element_size()


def unique(call: Call) -> Iterable[Step] | None:
    """The steps of a call that looks at entries; None for one that looks at slices."""
    is_sorted = "consecutive" not in call.op
    place = 2 if is_sorted else 1
    if call.argument(3, "dim") is not None and not is_sorted:
        return None
    asked = _Asked(
        call,
        is_sorted,
        bool(call.argument(place, "return_inverse", default=False)),
        bool(call.argument(place + 1, "return_counts", default=False)),
    )
    if not asked.count:
        return list(call.results())
    is_copied = not call.input.is_contiguous()
    inside = _of_truth(asked) if _is_truth(asked) else _of_entries(asked)
    if inside is None:
        return None
    copy = [Take("copy", num_bytes(call.input), call.op)] if is_copied else []
    return [*copy, *inside, *(Give("copy") for _ in copy)]


def _is_truth(asked: _Asked) -> bool:
    return asked.is_sorted and asked.call.input.dtype is torch.bool


def _of_truth(asked: _Asked) -> list[Step] | None:
    """Truth values are counted: there are two results of two, whatever is asked for."""
    call = asked.call
    if asked.count > _SMALL_REDUCTION:
        return None
    steps: list[Step] = [Take("true entries", 4, call.op), *call.temporary(1, REDUCE)]
    num_results = len(list(tensors(call.result)))
    counts: str | int = 2 if num_results > 2 else "counts"
    steps += [Take(0, 2, call.op), Take(counts, 2 * _INDEX_BYTES, call.op)]
    if asked.with_inverse:
        steps.append(Take(1, asked.count * _INDEX_BYTES, call.op))
    last = [Give("counts")] if counts == "counts" else []
    return [*steps, Give("true entries"), *last]


def _of_entries(asked: _Asked) -> list[Step] | None:
    call, count, width = asked.call, asked.count, asked.width
    kernels, op = call.kernels, call.op
    value_bytes = _INDEX_BYTES if asked.with_inverse else 0
    sort = sort_storage(kernels, count, width, value_bytes)
    scan = sum_storage(kernels, count, _RUN_BYTES)
    select = (runs_storage if asked.with_counts else select_storage)(kernels, count, width)
    if sort is None or scan is None or select is None:
        return None
    steps: list[Step] = []
    if asked.is_sorted:
        steps.append(Take("sorted", count * width, op))
        if asked.with_inverse:
            steps.append(Take("range", count * _INDEX_BYTES, op))
            steps.append(Take("places", count * _INDEX_BYTES, op))
        steps += sort.steps()
        steps += [Give("range")] if asked.with_inverse else []
    if asked.with_inverse:
        sums = _INDEX_BYTES if asked.is_sorted else _RUN_BYTES
        steps += [Take(1, count * _INDEX_BYTES, op), Take("sums", count * sums, op)]
        steps += [*scan.steps(), Give("sums")]
    steps.append(Take(0, count * width, op))
    steps.append(Take("length", _INDEX_BYTES, op))
    if asked.with_counts:
        # They keep the storage of as many as there are entries.
        steps.append(Take(2, count * _INDEX_BYTES, op))
    steps += [*select.steps(), Give("length")]
    if asked.is_sorted:
        steps += [Give("places")] if asked.with_inverse else []
        steps.append(Give("sorted"))
    return steps
