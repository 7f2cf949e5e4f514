"""Looks inside operators that are compositions of visible ones, so that their scratch is seen.

A recorder that meets one of them runs `see_through` with itself active: every part of it passes
through dispatch, and its temporaries are in the trace to the byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import LaneError
from oom_suite.torch_compat.dispatch import COMPOSED, has_kernel, run_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.torch_compat.dispatch import OpOverload

    Composition = Callable[[OpOverload, tuple[Any, ...], Mapping[str, Any]], Any]

_COMPOSED_NAMES = (
    # A float temporary as large as the input: (self - max).exp_().
    "aten::logsumexp",
    "aten::logsumexp.out",
    "aten::_safe_softmax",
    "aten::binary_cross_entropy_with_logits",
    "aten::dist",
    "aten::isinf",
)
_MASKS = frozenset({torch.bool, torch.uint8})


def _by_key(key: str) -> Composition:
    def compose(func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        return run_kernel(func, key, args, kwargs)

    return compose


def _index(func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    source, indices = args[:2]
    if not _has_mask(indices):
        return NotImplemented
    return func(source, _positions(indices), *args[2:], **kwargs)


def _index_put(func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    target, indices, values = args[:3]
    # One value under one mask is filled in place, without a list of the mask's entries.
    if not _has_mask(indices) or values.dim() == 0:
        return NotImplemented
    is_out_of_place = func is torch.ops.aten.index_put.default
    copy = torch.ops.aten.clone.default(target) if is_out_of_place else target
    try:
        positions = _positions(indices)
    except LaneError:
        # The mask's values are unknown: the write still has a known shape, and is flagged.
        if is_out_of_place:
            return torch.ops.aten.index_put_.default(copy, indices, values, *args[3:], **kwargs)
        return NotImplemented
    if is_out_of_place:
        # The copy is there before the mask is looked at.
        return torch.ops.aten.index_put_.default(copy, positions, values, *args[3:], **kwargs)
    return func(target, positions, values, *args[3:], **kwargs)


def _masked_select(func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    del func, kwargs
    source, mask = torch.broadcast_tensors(args[0], args[1])  # type: ignore[no-untyped-call]  # torch does not annotate it
    return torch.ops.aten.index.Tensor(source, _positions([mask]))


def _has_mask(indices: Sequence[torch.Tensor | None]) -> bool:
    return any(index is not None and index.dtype in _MASKS for index in indices)


def _positions(indices: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
    """The indices, each mask replaced by the positions of its true entries."""
    found: list[torch.Tensor | None] = []
    for index in indices:
        if index is None or index.dtype not in _MASKS:
            found.append(index)
        else:
            found.extend(torch.ops.aten.nonzero.default(index).unbind(1))
    return found


def _find() -> dict[str, Composition]:
    found: dict[str, Composition] = {
        name: _by_key(key)
        for name in _COMPOSED_NAMES
        for key in COMPOSED
        if has_kernel(name, key) and not has_kernel(name, "CPU")
    }
    found["aten::index.Tensor"] = _index
    found["aten::masked_select"] = _masked_select
    for name in ("aten::index_put", "aten::index_put_", "aten::_index_put_impl_"):
        found[name] = _index_put
    return found


COMPOSITIONS = _find()
"""How to run an operator as its parts; NotImplemented says that this call has none.

By dispatch key: operators without a kernel of their own on CPU, CUDA or HIP. Only what this torch
really composes is listed: calling a kernel that is not there would crash the process.

By hand: indexing with masks, which first lists each mask's true entries as int64 positions.

Source: PyTorch 2.13 ``native_functions.yaml``; ``aten/src/ATen/native/ReduceOps.cpp``,
``logsumexp_out_impl``; ``IndexingUtils.h``, ``expandTensors``; ``cuda/Indexing.cu``,
``masked_select_out_cuda_impl``; ``TensorAdvancedIndexing.cpp``, ``_index_put_impl_``.
"""
