"""What operators allocate inside their kernels, where dispatch cannot see it.

The answers, per operator: its kernel is a composition of visible operators (then
`oom_suite.operators.compositions` looks inside, and the scratch is in the trace to the byte); it
was looked at and takes nothing (`oom_suite.operators.families`); it is named here, and every
call is flagged `Unseen`, with a bound where `oom_suite.operators.bounds` has one; or nobody has
looked at it, and it is flagged for that.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.attention_steps import CUDNN_WORKSPACE
from oom_suite.operators.families import takes_nothing
from oom_suite.operators.operands import operator
from oom_suite.operators.registered import registered

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from oom_suite.torch_compat.dispatch import OpOverload

_SORTS = "sorts with device-wide scratch: keys, indices and a radix-sort workspace"
_UNIQUES = (
    "sorts with device-wide scratch, and on a GPU its results keep storage for every input entry"
)
_LOSSES = "computes the loss of every element before it reduces them"
_SCANS = "scans with a workspace of the size that CUB or rocPRIM asks for"
_LITTLE = "takes a little inside, for which there is no formula on this target"
_PARTS = "is made of others inside, whose temporaries dispatch cannot see"
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
    "aten::multinomial": "normalises the weights, and scans or divides them",
    "aten::isin": "sorts both inputs together, or compares each with each",
    "aten::masked_scatter": _SCANS,
    "aten::repeat_interleave": _SCANS,
    "aten::randperm": _SORTS,
    "aten::logcumsumexp": _SCANS,
    "aten::ldexp": _PARTS,
    "aten::mvlgamma": _PARTS,
    "aten::_trilinear": _PARTS,
    "aten::affine_grid_generator": _PARTS,
    "aten::embedding_renorm": _SORTS,
    "aten::_grouped_mm": _LIBRARY,
    "aten::renorm": "keeps the norm of every slice, and its factor",
    "aten::nanmedian": _SORTS,
    "aten::count_nonzero": "counts in blocks of the input, and adds those up",
    "aten::binary_cross_entropy": _LOSSES,
    "aten::log_sigmoid_forward": "on a CPU keeps a buffer as large as its input",
    "aten::_embedding_bag": _SORTS,
    "aten::_embedding_bag_forward_only": _SORTS,
    "aten::embedding_dense_backward": _SORTS,
    "aten::convolution": _LIBRARY,
    "aten::convolution_backward": _LIBRARY,
    "aten::_cudnn_rnn": _LIBRARY,
    "aten::_cudnn_rnn_backward": _LIBRARY,
    "aten::miopen_rnn": _LIBRARY,
    "aten::miopen_rnn_backward": _LIBRARY,
    "aten::cudnn_batch_norm_backward": _LIBRARY,
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
_MEANS = {
    "aten::scatter_reduce": 4,
    "aten::scatter_reduce_": 4,
    "aten::index_reduce": 4,
    "aten::index_reduce_": 4,
}
"""Operators that reduce into places, and the position of ``reduce`` in their schemas."""

_BY_CALL = frozenset(
    {
        *(_SOFTMAXES | _PUTS | _REDUCED_LOSSES.keys() | _MEANS.keys()),
        *("aten::_safe_softmax", "aten::cudnn_batch_norm"),
    }
)
"""Operators some of whose calls take scratch, by their arguments."""

_LOOKED_AT = """
    sum mean prod amax amin aminmax _aminmax any all argmax argmin nansum norm std std_mean var
    var_mean linalg_vector_norm linalg__powsum _is_all_true _is_any_true native_norm
    _softmax_backward_data logsumexp dist binary_cross_entropy_with_logits native_group_norm
    native_layer_norm_backward native_group_norm_backward native_batch_norm_backward
    _fused_rms_norm _fused_rms_norm_backward native_batch_norm _embedding_bag_backward
    max min softmax log_softmax
    normal normal_functional nonzero_static _weight_norm_interface
    _weight_norm_interface_backward masked_scatter_backward _cdist_forward _cummax_helper
    _cummin_helper _logcumsumexp
"""
LOOKED_AT = frozenset(f"aten::{name}" for name in _LOOKED_AT.split())
"""Operators that take a little inside (a reduction's partial results, a temporary of a
composition): a prediction for a target has a formula or a bound for them, and the law of
``generic``, whose kernels take nothing inside, does not name them."""

_NON_CONTIGUOUS_SOFTMAX = "copies a non-contiguous input before it normalises"
_UNKNOWN_MASK = "lists the true entries of a mask whose values are unknown here"
_COUNTS = "counts what it adds up, to divide by"
_FUSED_ATTENTION = (
    "the scores in full, as scaled_dot_product_attention takes them where it has no fused kernel; "
    "a GPU that has one takes a workspace of its own choosing instead"
)


_TORCH = ("aten::", "prim::", "profiler::")
"""Namespaces of operators that torch itself defines and that were gone through here."""

OPAQUE = (
    "a custom operator, whose kernel nobody can see into; its author can say what it takes with "
    "oom_suite.register_scratch"
)
NOT_LOOKED_AT = "nobody has looked at what its kernel takes"


def is_opaque(family: str) -> bool:
    """Whether an operator, named without its overload, is from outside torch and unregistered."""
    return not family.startswith(_TORCH) and not registered(family)


_BY_ZEROS = frozenset({"aten::cumprod", "aten::prod"})
_OTHER_FORMULA = "where entries are zero, torch computes its gradient by another formula"


class _Followed(threading.local):
    """Whether a gradient follows what this thread calls, though none is recorded in it."""

    is_so = False


_followed = _Followed()


@contextlib.contextmanager
def gradient_follows() -> Iterator[None]:
    """While active, a gradient follows this thread's calls: it is that of a caller."""
    _followed.is_so = True
    try:
        yield
    finally:
        _followed.is_so = False


def has_gradient_by_zeros(name: str, args: tuple[Any, ...]) -> bool:
    """Whether a gradient may follow, and which formula it takes depends on the values."""
    if name not in _BY_ZEROS:
        return False
    return _followed.is_so or (torch.is_grad_enabled() and bool(args[0].requires_grad))


def is_seen_as_more(name: str, args: tuple[Any, ...]) -> bool:
    """Whether what is seen in a call's place takes at least as much.

    Gradients of products are seen by the formula that takes the most; on a CPU torch's own runs.
    """
    if name in _BY_ZEROS:
        on_gpu = name == "aten::cumprod" or args[0].device.type != "cpu"
        return on_gpu and bool(args[0].is_floating_point())
    return name in SEEN_AS_MORE


SEEN_AS_MORE = frozenset({"aten::_safe_softmax"})
"""Operators that are named, and seen as what takes more than the kernel that may stand for them."""


def may_be_unseen(func: OpOverload) -> bool:
    """Whether some call of this operator takes unseen scratch."""
    family = operator(func).family
    return family in _BY_CALL or unseen_always(func) is not None


def unseen_reason(
    func: OpOverload,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    is_prediction: bool = False,
) -> str | None:
    """Why this call may take scratch that the trace does not show; None when it takes none.

    Args:
        func: the operator.
        args: of the call.
        kwargs: of the call.
        is_prediction: whether the trace has what a target's kernels take inside, as far as that
            is known: then those of `LOOKED_AT` are named, too.
    """
    name = operator(func).family
    if is_prediction and has_gradient_by_zeros(name, args):
        return _OTHER_FORMULA
    if name not in _BY_CALL:
        return _LITTLE if is_prediction and name in LOOKED_AT else unseen_always(func)
    if name in _SOFTMAXES:
        return None if args[0].is_contiguous() else _NON_CONTIGUOUS_SOFTMAX
    if name in _PUTS:
        return _unseen_put(args, kwargs)
    if name in _REDUCED_LOSSES:
        position = _REDUCED_LOSSES[name]
        reduction = kwargs.get("reduction", args[position] if len(args) > position else 1)
        return _LOSSES if reduction else None
    if name == "aten::cudnn_batch_norm":
        return _LIBRARY if args[5] else None
    if name in _MEANS:
        position = _MEANS[name]
        reduce = kwargs.get("reduce", args[position] if len(args) > position else "")
        return _COUNTS if reduce == "mean" else None
    return _FUSED_ATTENTION


def unseen_always(func: OpOverload) -> str | None:
    """Why every call of it may take unseen scratch; None where none does."""
    name = operator(func).family
    reason = UNSEEN.get(name) or UNSEEN.get(name.removesuffix("_"))
    if reason is not None:
        return reason
    if not name.startswith(_TORCH):
        return OPAQUE if is_opaque(name) else None
    if not name.startswith("aten::") or name in LOOKED_AT or takes_nothing(func):
        return None
    return NOT_LOOKED_AT


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
