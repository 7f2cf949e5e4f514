"""Indexing on CUDA: copies of indices, and the sorts of writes that add.

Source: PyTorch 2.13 ``aten/src/ATen/native/TensorAdvancedIndexing.cpp``, ``AdvancedIndex``;
``TensorAdvancedIndexingUtils.h``, ``make_info``; ``cuda/Indexing.cu``,
``index_put_with_sort_kernel``; ``cuda/Embedding.cu``, ``embedding_dense_backward_cuda``,
``embedding_renorm_cuda_``;
``cuda/EmbeddingBackwardKernel.cu``, ``embedding_backward_cuda_kernel``.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.cuda.cub import SELECT, tiles_bytes
from oom_suite.operators.cuda.library import scan_storage, select_storage, sort_storage
from oom_suite.operators.cuda.sorting import sorted_inside
from oom_suite.operators.cuda.temporaries import nonzero
from oom_suite.operators.kernels import ceil_div, num_bytes
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step

_INDEX_BYTES = 8
_FEW_INDICES = 3072
_ROWS_PER_THREAD = 10
_SMALLEST_TILE = 1024
_LARGEST_BLOCK = 1024
_PUTS = frozenset({"aten::index_put", "aten::_unsafe_index_put", "aten::_index_put_impl"})


def _index(call: Call) -> Iterable[Step] | None:
    copies = _index_copies(call)
    if copies is None:
        return None
    gives = [Give(step.name) for step in reversed(copies) if isinstance(step.name, str)]
    return [*copies, *call.results(), *gives]


def _index_copies(call: Call) -> list[Take] | None:
    """Copies of indices: strides that are alike make the kernel simple. None where masks are."""
    given = [one for one in call.argument(1, "indices", ()) if one is not None]
    if any(one.dtype in {torch.bool, torch.uint8} for one in given):
        return None
    expanded = torch.broadcast_tensors(*given) if given else ()  # type: ignore[no-untyped-call]  # untyped by torch
    copies: list[Take] = []
    strides = []
    for number, (one, whole) in enumerate(zip(given, expanded, strict=True)):
        is_widened = one.dtype is torch.int32
        if is_widened:
            size = whole.numel() * _INDEX_BYTES
            copies.append(Take(f"widened index {number}", size, call.op))
        is_copied = is_widened and not whole.is_contiguous()
        strides.append(
            torch.empty(whole.shape, device="meta").stride() if is_copied else whole.stride()
        )
    if len(set(strides)) > 1:
        for number, whole in enumerate(expanded):
            if not whole.is_contiguous():
                size = whole.numel() * _INDEX_BYTES
                copies.append(Take(f"contiguous index {number}", size, call.op))
    return copies


def sees_masks(call: Call) -> bool:
    """Whether a write that adds under a mask has its formula here, the mask's positions in it.

    The kernel lists them, makes one index of them, and gives them back before it sorts. How many
    there are is said by the values, unless those are broadcast.
    """
    if call.op.removesuffix("_") not in _PUTS or not call.argument(3, "accumulate", default=False):
        return False
    given: Sequence[Any] = call.argument(1, "indices", ())
    values, target = call.argument(2, "values"), call.input
    if len(given) != 1 or given[0] is None or given[0].dtype is not torch.bool:
        return False
    return bool(values.dim() == target.dim() - given[0].dim() + 1) and values.shape[0] != 1


def _index_put(call: Call) -> Iterable[Step] | None:
    if not call.argument(3, "accumulate", default=False):
        return _index_put_in_place(call)
    given: Sequence[Any] = call.argument(1, "indices", ())
    dims = [dim for dim, one in enumerate(given) if one is not None]
    are_adjacent = bool(dims) and dims == list(range(dims[0], dims[-1] + 1))
    indices = [given[dim] for dim in dims]
    if sees_masks(call):
        return _put_under_mask(call, indices[0])
    if not are_adjacent or any(one.dtype is torch.bool for one in indices):
        return None
    target = call.input
    shape = torch.broadcast_tensors(*indices)[0].shape  # type: ignore[no-untyped-call]  # untyped by torch
    whole = [*target.shape[: dims[0]], *shape, *target.shape[dims[-1] + 1 :]]
    slice_size = torch.Size(target.shape[dims[-1] + 1 :]).numel()
    inside = _put_sorted(call, torch.Size(shape).numel(), whole, slice_size)
    return None if inside is None else [*call.results(), *inside]


def _put_under_mask(call: Call, mask: torch.Tensor) -> Iterable[Step] | None:
    """The positions come before all else, and are gone before the sort."""
    count, values = call.argument(2, "values").shape[0], call.argument(2, "values")
    found = torch.empty(count, mask.dim(), dtype=torch.int64, device="meta")
    listed = nonzero(replace(call, args=(mask,), kwargs={}, result=found))
    slice_size = torch.Size(call.input.shape[mask.dim() :]).numel()
    inside = _put_sorted(call, count, list(values.shape), slice_size)
    if listed is None or inside is None:
        return None
    positions: list[Step] = [
        replace(step, name="positions") if isinstance(step, Take) and step.name == 0 else step
        for step in listed
    ]
    # One index is made of the positions of each dimension after the other.
    names = ("index so far", "wrapped", "scaled")[min(mask.dim(), 2) % 2 :]
    parts: list[Step] = [Take(name, count * _INDEX_BYTES, call.op) for name in names]
    parts += (Give(name) for name in reversed(names))
    return [*call.results(), *positions, *parts, Give("positions"), *inside]


def _put_sorted(call: Call, count: int, whole: list[int], slice_size: int) -> list[Step] | None:
    """What sorting the places takes, of which there are so many."""
    target, values = call.input, call.argument(2, "values")
    if not count or not slice_size or not target.numel():
        return []
    num_bits = max(1, ((target.numel() - 1) // slice_size).bit_length())
    scratch = sort_storage(call.kernels, count, 8, 8, num_bits)
    if scratch is None:
        return None
    names = {"linear index": count * _INDEX_BYTES}
    if list(values.shape) != whole or not values.is_contiguous():
        names["values"] = torch.Size(whole).numel() * values.element_size()
    names |= dict.fromkeys(("sorted", "places", "range"), count * _INDEX_BYTES)
    steps: list[Step] = [Take(name, size, call.op) for name, size in names.items()]
    return [*steps, *scratch.steps(), *(Give(name) for name in reversed(names))]


def _index_put_in_place(call: Call) -> Iterable[Step] | None:
    copies = _index_copies(call)
    if copies is None:
        return None
    gives = [Give(step.name) for step in reversed(copies) if isinstance(step.name, str)]
    # Out of place it is a copy, and then a write into that.
    return [*call.results(), *copies, *gives]


def _embedding_backward(call: Call) -> Iterable[Step] | None:
    grad, indices = call.args[:2]
    num_weights = int(call.argument(2, "num_weights"))
    counts_words = bool(call.argument(4, "scale_grad_by_freq", default=False))
    copies: list[Step] = []
    if not grad.is_contiguous():
        copies.append(Take("gradient", num_bytes(grad), call.op))
    if not indices.is_contiguous():
        copies.append(Take("indices", num_bytes(indices), call.op))
    gives = [Give(step.name) for step in reversed(copies) if isinstance(step.name, str)]
    count, width = indices.numel(), indices.element_size()
    if count <= _FEW_INDICES and not counts_words:
        return [*copies, *call.results(), *gives]
    is_wide = width == _INDEX_BYTES
    scratch = sort_storage(call.kernels, count, width, _INDEX_BYTES) if is_wide else None
    if scratch is None or counts_words:
        return None
    steps: list[Step] = [
        *copies,
        *(Take(name, count * width, call.op) for name in ("sorted", "places", "range")),
        *scratch.steps(),
        Give("range"),
        *call.results(),
    ]
    held = kept_of_runs(call, count, width, min(count, num_weights), grad.shape[-1])
    return [*steps, *held, Give("places"), Give("sorted"), *gives]


def kept_of_runs(call: Call, count: int, width: int, most: int, row: int) -> list[Step]:
    """What is kept of each run of equal indices, and of each piece of it."""
    num_pieces = count // _ROWS_PER_THREAD + most
    warp = call.kernels.warp_size
    row_in_warps = ceil_div(row, warp) * warp
    grid = ceil_div(most * row_in_warps, min(row_in_warps, _LARGEST_BLOCK))
    # Where runs are few and long, later releases add into the result at once.
    may_be_less = num_pieces > 4 * grid
    accumulated = max(call.args[0].element_size(), 4)
    offsets = {"offsets": count * width, "number": _INDEX_BYTES}
    pieces = {"pieces": most * width, "piece offsets": most * width}
    rows = {"number of pieces": _INDEX_BYTES, "piece starts": num_pieces * width}
    unique = tiles_bytes(count, _SMALLEST_TILE)
    if not call.kernels.has_cub:
        storage = select_storage(call.kernels, count, width)
        unique = 0 if storage is None else storage.num_bytes
    scan = scan_storage(call.kernels, most, _INDEX_BYTES)
    steps: list[Step] = [
        *(Take(name, size, call.op) for name, size in offsets.items()),
        Take("unique", count * width, call.op),
        *call.temporary(unique, SELECT, is_bound=True),
        Give("unique"),
        *(Take(name, size, call.op) for name, size in pieces.items()),
        *(() if scan is None else scan.steps()),
        *(Take(name, size, call.op) for name, size in rows.items()),
        Take("sums of pieces", num_pieces * row * accumulated, call.op, may_be_less),
        Give("sums of pieces"),
    ]
    names = [*offsets, *pieces, *rows]
    return [*steps, *(Give(name) for name in reversed(names))]


def _embedding(call: Call) -> Iterable[Step] | None:
    """Indices of several dimensions are one list, which those that are spread out become."""
    indices = call.args[1]
    is_copied = not indices.is_contiguous() and not _is_one_list(indices)
    steps = [Take("indices", num_bytes(indices), call.op)] if is_copied else []
    return [*steps, *call.results(), *(Give("indices") for _ in steps)]


def _is_one_list(indices: torch.Tensor) -> bool:
    """Whether entries have one step from each to the next, so that no copy is needed."""
    dims = [dim for dim, size in enumerate(indices.shape) if size != 1]
    pairs = itertools.pairwise(dims)
    strides = indices.stride()
    return all(strides[dim] == strides[then] * indices.shape[then] for dim, then in pairs)


def _embedding_renorm(call: Call) -> Iterable[Step] | None:
    """The rows' places are sorted, and each is taken once."""
    indices = call.args[1]
    count, width = indices.numel(), indices.element_size()
    inside = sorted_inside(indices, indices.dim() - 1, call)
    if inside is None:
        return None
    steps: list[Step] = [Take("sorted", count * width, call.op)]
    steps += [Take("places", count * _INDEX_BYTES, call.op), *inside, Give("places")]
    steps += [Take("unique", count * width, call.op), Take("number", _INDEX_BYTES, call.op)]
    storage = tiles_bytes(count, _SMALLEST_TILE)
    if not call.kernels.has_cub:
        found = select_storage(call.kernels, count, width)
        storage = 0 if found is None else found.num_bytes
    steps += call.temporary(storage, SELECT, is_bound=True)
    return [*steps, *(Give(name) for name in ("number", "unique", "sorted"))]


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::index": _index,
    "aten::_unsafe_index": _index,
    "aten::index_put": _index_put,
    "aten::_unsafe_index_put": _index_put,
    "aten::_index_put_impl": _index_put,
    "aten::embedding_dense_backward": _embedding_backward,
    "aten::embedding": _embedding,
    "aten::embedding_renorm": _embedding_renorm,
}
