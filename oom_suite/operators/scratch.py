"""What operators allocate inside their kernels, where dispatch cannot see it.

Three answers, per operator: its kernel is a composition of visible operators (then
`oom_suite.operators.compositions` looks inside, and the scratch is in the trace to the byte); its
amount is not defined by the sizes alone (then every call is flagged `Unseen`); or, for all
others, there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.attention_steps import CUDNN_WORKSPACE
from oom_suite.operators.operands import operator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.torch_compat.dispatch import OpOverload

_SORTS = "sorts with device-wide scratch: keys, indices and a radix-sort workspace"
_UNIQUES = (
    "sorts with device-wide scratch, and on a GPU its results keep storage for every input entry"
)
_LOSSES = "computes the loss of every element before it reduces them"
_SCANS = "scans with a workspace of the size that CUB or rocPRIM asks for"
_LIBRARY = "a library kernel with a workspace of its own choosing"

UNSEEN: dict[str, str] = {
    "aten::_unique": _UNIQUES,
    "aten::_unique2": _UNIQUES,
    "aten::unique_dim": _UNIQUES,
    "aten::unique_consecutive": _UNIQUES,
    "aten::unique_dim_consecutive": _UNIQUES,
    "aten::sort": _SORTS,
    "aten::argsort": _SORTS,
    "aten::msort": _SORTS,
    "aten::topk": "selects in one block per row, or sorts when rows are long",
    "aten::kthvalue": _SORTS,
    "aten::median": _SORTS,
    "aten::mode": _SORTS,
    "aten::bincount": "counts in a histogram workspace",
    "aten::histc": "counts in a histogram workspace",
    "aten::nonzero": _SCANS,
    "aten::masked_select": _SCANS,
    "aten::cumsum": _SCANS,
    "aten::cumprod": _SCANS,
    "aten::cummax": _SCANS,
    "aten::cummin": _SCANS,
    "aten::_embedding_bag": _SORTS,
    "aten::_embedding_bag_forward_only": _SORTS,
    "aten::embedding_dense_backward": _SORTS,
    "aten::convolution": _LIBRARY,
    "aten::convolution_backward": _LIBRARY,
    "aten::cudnn_convolution": _LIBRARY,
    "aten::miopen_convolution": _LIBRARY,
    "aten::_scaled_dot_product_flash_attention": _LIBRARY,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _LIBRARY,
    "aten::_scaled_dot_product_efficient_attention": _LIBRARY,
    "aten::_scaled_dot_product_cudnn_attention": CUDNN_WORKSPACE,
    "aten::_scaled_dot_product_flash_attention_backward": _LIBRARY,
    "aten::_scaled_dot_product_efficient_attention_backward": _LIBRARY,
    "aten::_scaled_dot_product_cudnn_attention_backward": CUDNN_WORKSPACE,
    "aten::_flash_attention_forward": _LIBRARY,
    "aten::_efficient_attention_forward": _LIBRARY,
    "aten::_fft_c2c": _LIBRARY,
    "aten::_fft_r2c": _LIBRARY,
    "aten::_fft_c2r": _LIBRARY,
    "aten::linalg_qr": _LIBRARY,
    "aten::_linalg_svd": _LIBRARY,
    "aten::_linalg_eigh": _LIBRARY,
}
"""Operators whose kernels take scratch that no size fixes, and the kind of scratch.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/`` (``Unique.cu``, ``Sort.cpp``,
``Nonzero.cu``, ``ScanKernels.cpp``, ``Embedding.cu``).
"""

_SOFTMAXES = frozenset({"aten::_softmax", "aten::_log_softmax"})
_PUTS = frozenset({"aten::index_put", "aten::index_put_", "aten::_index_put_impl_"})
_REDUCED_LOSSES = {
    "aten::mse_loss": 2,
    "aten::smooth_l1_loss": 2,
    "aten::huber_loss": 2,
    "aten::soft_margin_loss": 2,
}
"""Losses that reduce, and the position of ``reduction`` (0 is none) in their schemas.

Source: PyTorch 2.13 ``aten/src/ATen/native/Loss.cpp``.
"""
_NON_CONTIGUOUS_SOFTMAX = "copies a non-contiguous input before it normalises"
_UNKNOWN_MASK = "lists the true entries of a mask whose values are unknown here"
_FUSED_ATTENTION = (
    "the scores in full, as scaled_dot_product_attention takes them where it has no fused kernel; "
    "a GPU that has one takes a workspace of its own choosing instead"
)


def may_be_unseen(family: str) -> bool:
    """Whether some call of this operator, named without its overload, takes unseen scratch."""
    flagged = family in UNSEEN or family in _SOFTMAXES or family in _PUTS
    return flagged or family in _REDUCED_LOSSES or family == "aten::_safe_softmax"


def unseen_reason(func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """Why this call may take scratch that the trace does not show; None when it takes none."""
    name = operator(func).family
    reason = UNSEEN.get(name)
    if reason is not None:
        return reason
    if name in _SOFTMAXES:
        return None if args[0].is_contiguous() else _NON_CONTIGUOUS_SOFTMAX
    if name in _PUTS:
        return _unseen_put(args, kwargs)
    if name in _REDUCED_LOSSES:
        position = _REDUCED_LOSSES[name]
        reduction = kwargs.get("reduction", args[position] if len(args) > position else 1)
        return _LOSSES if reduction else None
    return _FUSED_ATTENTION if name == "aten::_safe_softmax" else None


def _unseen_put(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    accumulate = kwargs.get("accumulate", args[3] if len(args) > 3 else False)
    if accumulate:
        return _SORTS
    # Those with known values arrive here as positions: `compositions` has replaced them.
    masked = any(index is not None and index.dtype is torch.bool for index in args[1])
    return _UNKNOWN_MASK if masked and args[2].dim() > 0 else None


HOST_READS = frozenset({"aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal"})
"""Operators that give a value of device data to the host, which waits for the device."""

SHAPE_READS = frozenset(
    {
        "aten::_unique",
        "aten::_unique2",
        "aten::masked_select",
        "aten::nonzero",
        "aten::unique_consecutive",
        "aten::unique_dim",
        "aten::unique_dim_consecutive",
    }
)
"""Operators whose result's shape depends on values, so that the host waits to learn it."""
