"""Rows of several lengths on CUDA: their ends, and lists of tensors as one.

Source: PyTorch 2.13 ``aten/src/ATen/native/Repeat.h`` (``repeat_interleave_common``),
``cuda/SegmentReduce.cu`` (``_segment_reduce_lengths_offsets_cuda_kernel``),
``cuda/TensorShape.cu`` (``_chunk_cat_cuda``, ``get_chunk_cat_metadata``, ``pack_vecs``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.cuda.library import scan_storage
from oom_suite.operators.cuda.reduce_config import Reduction
from oom_suite.operators.cuda.reductions import partial_results
from oom_suite.operators.kernels import ceil_div, num_bytes
from oom_suite.operators.operands import tensors
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step

_INDEX_BYTES = 8
_BLOCK_BYTES = 128 * 16
"""Bytes that a block of ``_chunk_cat`` copies: threads, each 16."""


def _repeat_interleave(call: Call) -> Iterable[Step] | None:
    repeats = call.input
    count, op = repeats.numel(), call.op
    storage = scan_storage(call.kernels, count, _INDEX_BYTES)
    if not count:
        return list(call.results())
    if storage is None:
        return None
    is_copied, is_widened = not repeats.is_contiguous(), repeats.dtype is not torch.int64
    steps: list[Step] = [Take("repeats", num_bytes(repeats), op)] if is_copied else []
    steps.append(Take("ends", count * _INDEX_BYTES, op))
    if is_copied or is_widened:
        steps.append(Take("to be summed", count * _INDEX_BYTES, op))
    steps += storage.steps()
    if is_copied or is_widened:
        steps.append(Give("to be summed"))
    if call.argument(1, "output_size") is None:
        truth = torch.empty(count, dtype=torch.bool, device="meta")
        reduced = partial_results(truth, None, Reduction(1), call.kernels, op)
        steps += [Take("are valid", count, op), Take("is valid", 1, op), *reduced]
        steps += [Give("is valid"), Give("are valid")]
    gives = [Give("ends"), *([Give("repeats")] if is_copied else [])]
    return [*steps, *call.results(), *gives]


def _segment_reduce(call: Call) -> Iterable[Step] | None:
    data = call.input
    lengths, offsets = call.argument(2, "lengths"), call.argument(4, "offsets")
    if data.dim() < 2 or not call.argument(6, "unsafe", default=False):
        return None
    given = offsets if offsets is not None else lengths
    if given is None or given.dim() != 1 or not (data.is_contiguous() and given.is_contiguous()):
        return None
    width, op = given.element_size(), call.op
    if offsets is not None:
        ends = (given.numel() - 1) * width
        return [*call.results(), *call.temporary(ends, "lengths")]
    count = given.numel() + 1
    storage = scan_storage(call.kernels, count, width)
    if storage is None:
        return None
    return [
        *call.results(),
        Take("first", width, op),
        Take("offsets", count * width, op),
        Give("first"),
        *storage.steps(),
        Give("offsets"),
    ]


def _chunk_cat(call: Call) -> Iterable[Step] | None:
    """Where each tensor begins, and which blocks copy it, in one list of numbers."""
    given: list[Any] = list(call.argument(0, "tensors"))
    num_chunks, dim = int(call.argument(2, "num_chunks")), int(call.argument(1, "dim"))
    dim %= given[0].dim()
    num_blocks = 0
    result = next(tensors(call.result))
    for each in given:
        padded = ceil_div(each.shape[dim], num_chunks) * math.prod(each.shape[dim + 1 :])
        num_blocks += ceil_div(padded * result.element_size(), _BLOCK_BYTES)
    # Starts have one more, the end: two lists of six.
    num_numbers = 6 * len(given) + 2 + num_blocks
    return [*call.results(), *call.temporary(num_numbers * _INDEX_BYTES, "places")]


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::repeat_interleave": _repeat_interleave,
    "aten::segment_reduce": _segment_reduce,
    "aten::_chunk_cat": _chunk_cat,
}
