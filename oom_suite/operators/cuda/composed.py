"""Operators that a GPU's kernel is made of others for: its parts pass through dispatch.

The parts of a `Composition` are in the trace to the byte, each as its own formula has it; hipified,
the same source runs on ROCm.

Source: PyTorch 2.13 ``aten/src/ATen/native``: ``cuda/TriangularOps.cu`` (``trace_cuda``),
``cuda/Equal.cpp`` (``cuda_equal``), ``cuda/TensorShape.cu`` (``_chunk_cat_cuda``),
``cuda/Sorting.cpp`` (``median_impl``), ``TensorCompare.cpp`` (``isin_Tensor_Tensor_out``,
``isin_sorting``), ``cuda/TensorCompare.cpp`` (``isin_default_kernel_gpu``);
``native_functions.yaml``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.torch_compat.dispatch import COMPOSED, has_kernel, run_kernel, storage_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.torch_compat.dispatch import OpOverload

    Args = tuple[Any, ...]
    Keywords = Mapping[str, Any]
    Composition = Callable[[OpOverload, Args, Keywords], Any]

aten = torch.ops.aten

_ON_EVERY_DEVICE = (
    "aten::_euclidean_dist",
    "aten::_trilinear",
    "aten::_unsafe_masked_index",
    "aten::_unsafe_masked_index_put_accumulate",
    "aten::allclose",
    "aten::masked_scatter_backward",
    "aten::mvlgamma",
)
"""Operators whose only kernel is made of others."""


def _by_key(key: str) -> Composition:
    def compose(func: OpOverload, args: Args, kwargs: Keywords) -> Any:
        return run_kernel(func, key, args, kwargs)

    return compose


def _trace(_func: OpOverload, args: Args, _kwargs: Keywords) -> Any:
    return aten.sum.default(aten.diagonal.default(args[0]))


def _equal(_func: OpOverload, args: Args, _kwargs: Keywords) -> Any:
    left, right = args
    if left.shape == right.shape and left.numel() and not _are_one(left, right):
        aten.all.default(aten.eq.Tensor(left, right))
    # What it says is the operator's own affair.
    return NotImplemented


def _are_one(left: torch.Tensor, right: torch.Tensor) -> bool:
    return (
        storage_key(left.untyped_storage()) == storage_key(right.untyped_storage())
        and left.storage_offset() == right.storage_offset()
        and left.dtype is right.dtype
        and left.stride() == right.stride()
    )


def _median(_func: OpOverload, args: Args, _kwargs: Keywords) -> Any:
    source = args[0]
    if not source.numel():
        return NotImplemented
    values = aten.sort.default(source.flatten())[0]
    last = aten.select.int(values, 0, -1)
    middle = aten.select.int(values, 0, (source.numel() - 1) // 2)
    return aten.where.self(aten.ne.Tensor(last, last), last, middle)


def _nanmedian(_func: OpOverload, args: Args, _kwargs: Keywords) -> Any:
    source = args[0]
    if not source.numel():
        return NotImplemented
    values = aten.sort.default(source.flatten())[0]
    missing = aten.sum.default(aten.ne.Tensor(values, values))
    left = aten.rsub.Scalar(missing, source.numel() - 1)
    del missing
    place = aten.div.Tensor(left, 2).to(torch.int64)
    del left
    return aten.index.Tensor(values, [place])


def _chunk_cat(func: OpOverload, args: Args, kwargs: Keywords) -> Any:
    if all(each.is_contiguous() for each in args[0]):
        # One kernel copies all.
        return NotImplemented
    return run_kernel(func, COMPOSED[0], args, kwargs)


def _isin(_func: OpOverload, args: Args, kwargs: Keywords) -> Any:
    elements, tested = args[:2]
    is_inverted = bool(kwargs.get("invert", args[3] if len(args) > 3 else False))
    are_unique = bool(kwargs.get("assume_unique", args[2] if len(args) > 2 else False))
    result = torch.empty(elements.shape, dtype=torch.bool, device=elements.device)
    if not elements.numel():
        return result
    if tested.numel() < int(10.0 * elements.numel() ** 0.145):
        spread = aten.view.default(tested, [1] * elements.dim() + [-1])
        pairs = aten.unsqueeze.default(elements, -1)
        compare, reduce = (aten.ne, aten.all) if is_inverted else (aten.eq, aten.any)
        found = reduce.dim(compare.Tensor(pairs, spread), -1)
        return aten.copy_.default(result, found)
    return _isin_sorted(elements, tested, are_unique, result)


def _isin_sorted(
    elements: torch.Tensor, tested: torch.Tensor, are_unique: bool, result: torch.Tensor
) -> torch.Tensor:
    if are_unique:
        order, first, second = None, elements.ravel(), tested.ravel()
    else:
        first, order = aten._unique.default(elements, return_inverse=True)
        second = aten._unique.default(tested)[0]
    every = aten.cat.default([first, second])
    del first, second
    values, places = aten.sort.stable(every, stable=True, dim=0, descending=False)
    twice = aten.empty_like.default(values, dtype=torch.bool)
    later, earlier = aten.slice.Tensor(values, 0, 1), aten.slice.Tensor(values, 0, 0, -1)
    aten.copy_.default(aten.slice.Tensor(twice, 0, 0, -1), aten.eq.Tensor(later, earlier))
    mask = aten.empty_like.default(twice)
    aten.index_copy_.default(mask, 0, places, twice)
    if order is None:
        found = aten.slice.Tensor(mask, 0, 0, elements.numel()).view_as(result)
    else:
        found = aten.index.Tensor(mask, [order])
    aten.copy_.default(result, found)
    return result


def _isin_number(_func: OpOverload, args: Args, kwargs: Keywords) -> Any:
    compare = aten.ne if kwargs.get("invert", args[3] if len(args) > 3 else False) else aten.eq
    return compare.Scalar(*args[:2])


def _find() -> dict[str, Composition]:
    found: dict[str, Composition] = {
        name: _by_key(key)
        for name in _ON_EVERY_DEVICE
        for key in COMPOSED
        if has_kernel(name, key) and not has_kernel(name, "CPU")
    }
    return {
        **found,
        "aten::trace": _trace,
        "aten::_chunk_cat": _chunk_cat,
        "aten::equal": _equal,
        "aten::median": _median,
        "aten::nanmedian": _nanmedian,
        "aten::isin.Tensor_Tensor": _isin,
        "aten::isin.Tensor_Scalar": _isin_number,
    }


COMPOSED_ON_GPU = _find()
"""How a GPU runs an operator as its parts, by its whole name; NotImplemented says that the
operator itself is to be called as well, or instead."""
