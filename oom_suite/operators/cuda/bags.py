"""Bags of embeddings on CUDA: their sizes, and the sort that sums gradients by row.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/EmbeddingBag.cu`` (``_embedding_bag_cuda``,
``embedding_bag_backward_cuda_sum_avg``, ``_embedding_bag_dense_backward_cuda``),
``cuda/EmbeddingBackwardKernel.cu``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.operators.cuda.indexing import kept_of_runs
from oom_suite.operators.cuda.library import sort_storage
from oom_suite.operators.kernels import num_bytes
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step

_INDEX_BYTES = 8
_MAX = 2
"""The mode that takes the largest entry; others sum."""


def _embedding_bag(call: Call) -> Iterable[Step]:
    """Sizes of bags and the bag of each index come before the result."""
    weight, indices, offsets = call.args[:3]
    width = max(indices.element_size(), offsets.element_size())
    copies = [
        Take(name, each.numel() * width, call.op)
        for name, each in (("indices", indices), ("offsets", offsets))
        if each.element_size() != width
    ]
    num_bags = offsets.numel() - bool(call.argument(7, "include_last_offset", default=False))
    is_max = int(call.argument(4, "mode", 0)) == _MAX
    largest = num_bags * weight.shape[1] * width if is_max else 0
    return [
        *copies,
        Take(2, offsets.numel() * width, call.op),
        Take(1, indices.numel() * width, call.op),
        Take(0, num_bags * weight.shape[1] * weight.element_size(), call.op),
        Take(3, largest, call.op),
        *(Give(str(each.name)) for each in reversed(copies)),
    ]


def _backward(
    num_weights: int, scale: int, mode: int, *, is_either: bool = False
) -> Callable[[Call], Iterable[Step] | None]:
    """Of an operator with these positions of arguments in its schema.

    Args:
        num_weights: position of the number of rows.
        scale: of whether frequencies count.
        mode: of the mode.
        is_either: whether its gradient may be sparse, which the next argument says.
    """

    def steps(call: Call) -> Iterable[Step] | None:
        if call.args[scale] or (is_either and call.args[mode + 1]):
            return None
        grad, indices = call.args[:2]
        copied = 0 if grad.is_contiguous() else num_bytes(grad)
        copy = [Take("gradient", copied, call.op)] if copied else []
        gives = [Give("gradient") for _ in copy]
        if call.args[mode] == _MAX or not indices.numel():
            return [*copy, *call.results(), *gives]
        inside = _summed(call, int(call.args[num_weights]))
        return None if inside is None else [*copy, *inside, *gives]

    return steps


def _summed(call: Call, num_weights: int) -> list[Step] | None:
    """Indices are sorted with their places; each run of equal ones is summed in pieces."""
    grad, indices = call.args[:2]
    count, width = indices.numel(), indices.element_size()
    is_wide = width == _INDEX_BYTES and indices.is_contiguous()
    storage = sort_storage(call.kernels, count, width, width) if is_wide else None
    if storage is None:
        return None
    names = ("sorted", "places", "range")
    return [
        *(Take(name, count * width, call.op) for name in names),
        *storage.steps(),
        Give("range"),
        *call.results(),
        *kept_of_runs(call, count, width, min(count, num_weights), grad.shape[-1]),
        Give("places"),
        Give("sorted"),
    ]


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::_embedding_bag": _embedding_bag,
    "aten::_embedding_bag_forward_only": _embedding_bag,
    "aten::_embedding_bag_backward": _backward(6, 7, 8, is_either=True),
    "aten::_embedding_bag_dense_backward": _backward(5, 6, 7),
}
