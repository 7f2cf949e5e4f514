"""Operators in the form that eager code calls, where torch calls another because a mode is active.

Autograd's formulas write into tensors that they have just made. Under a dispatch mode, and for
tensor subclasses, torch takes a new tensor instead, for the mode's sake: each such step would
seem to take one tensor more than it does. Here the operator in place is put in its stead.

Source: PyTorch 2.11 and 2.13 ``aten/src/ATen/TensorSubclassLikeUtils.h`` and its users:
``torch/csrc/autograd/input_buffer.cpp`` (``can_accumulate_inplace``),
``torch/csrc/autograd/FunctionsManual.cpp`` (``index_backward``,
``binary_cross_entropy_with_logits_backward``, ``binary_cross_entropy_target_backward``,
``clamp_backward``, ``evenly_distribute_backward``),
``aten/src/ATen/native/TensorAdvancedIndexing.cpp`` (``gather_backward``,
``index_select_backward_symint``, ``masked_select_backward``), ``ReduceOps.cpp``
(``value_selecting_reduction_backward_symint``, ``cummaxmin_backward``),
``transformers/attention.cpp`` (``_scaled_dot_product_attention_math``).

Does not hold: where code keeps the graph of its gradients (``create_graph=True``), torch adds
gradients into new tensors in eager code, too, and so they are left. On a device that is measured
under a mode (a CPU's allocations are counted by one) both forms are what eager code does.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.kernels import num_bytes
from oom_suite.torch_compat.autograd_nodes import (
    current_node,
    is_asked_by_engine,
    is_held_once,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oom_suite.torch_compat.dispatch import OpOverload

_aten = torch.ops.aten

_CHOSEN = """
    SortBackward0 SortBackward1 TopkBackward0 KthvalueBackward0 ModeBackward0 MaxBackward0
    MinBackward0 MedianBackward1 NanmedianBackward1
"""
"""Steps whose gradient goes to the chosen entries of zeros."""
_ENTROPY = "BinaryCrossEntropyWithLogitsBackward0"
_TARGET = "BinaryCrossEntropyBackward0"
_SHARED = (
    "MaxBackward1 MinBackward1 MedianBackward0 NanmedianBackward0 ClampBackward0 ClampBackward1"
)

_STEPS: dict[OpOverload, tuple[OpOverload, frozenset[str]]] = {
    out_of_place: (in_place, frozenset(steps.split()))
    for out_of_place, in_place, steps in (
        (_aten.scatter.src, _aten.scatter_.src, _CHOSEN),
        (
            _aten.scatter_add.default,
            _aten.scatter_add_.default,
            "GatherBackward0 CummaxBackward0 CumminBackward0",
        ),
        (_aten.index_add.default, _aten.index_add_.default, "IndexSelectBackward0"),
        (_aten.index_put.default, _aten.index_put_.default, "IndexBackward0"),
        (_aten.masked_scatter.default, _aten.masked_scatter_.default, "MaskedSelectBackward0"),
        (_aten.sub.Tensor, _aten.sub_.Tensor, _ENTROPY),
        (_aten.mul.Tensor, _aten.mul_.Tensor, f"{_ENTROPY} {_TARGET}"),
        (_aten.logical_and.default, _aten.logical_and_.default, _SHARED),
        (_aten.logical_or.default, _aten.logical_or_.default, _SHARED),
    )
}
"""The operator in place, and the steps of a backward pass whose formulas call it in eager code."""

_ARITHMETIC = frozenset({_aten.sub.Tensor, _aten.mul.Tensor})
"""These write in place only what the formula has just made, and no weight that it was given."""

_ADDING = """
    Atan2Backward0 CholeskyBackward0 CholeskyInverseBackward0 CholeskySolveBackward0
    LinalgCholeskyExBackward0 LinalgDetBackward0 LinalgEigBackward0 LinalgEighBackward0
    LinalgLstsqBackward0 LinalgLuBackward0 LinalgLuFactorExBackward0 LinalgLuSolveBackward0
    LinalgPinvBackward0 LinalgQrBackward0 LinalgSvdBackward0 LogcumsumexpBackward0
    LuUnpackBackward0 MvlgammaBackward0 NativeGroupNormBackward0 NativeLayerNormBackward0
    NativeBatchNormBackward0 FusedRmsNormBackward0 RenormBackward0 SpecialI1Backward0
    SpecialI1EBackward0 SpecialLogNdtrBackward0 StdMeanBackward0 TriangularSolveBackward0
    VarMeanBackward0
"""
_ADDS = frozenset(_ADDING.split())
"""Steps whose own formula adds two tensors of one shape: a sum there may be the formula's."""

_in_math_attention: ContextVar[bool] = ContextVar("in_math_attention", default=False)


@contextlib.contextmanager
def math_attention() -> Iterator[None]:
    """While active, attention is composed of its parts: a mask is added to scores in place."""
    token = _in_math_attention.set(True)
    try:
        yield
    finally:
        _in_math_attention.reset(token)


def eager_form(
    func: OpOverload, args: tuple[Any, ...], are_same: Callable[[Any, Any], bool]
) -> OpOverload:
    """The operator that eager code would call; `func` itself almost always.

    Args:
        func: what a dispatch mode was given.
        args: its arguments, as they were given.
        are_same: whether two numbers of bytes are one; they may be symbols.
    """
    if func is _aten.add.Tensor:
        return _aten.add_.Tensor if _adds_in_place(args, are_same) else func
    found = _STEPS.get(func)
    if found is None or current_node() not in found[1]:
        return func
    if func in _ARITHMETIC and not (is_held_once(args, 2) and _keeps_type(args)):
        return func
    return found[0]


def _keeps_type(args: tuple[Any, ...]) -> bool:
    """Whether the result of arithmetic has the type of the first argument."""
    return bool(torch.result_type(args[0], args[1]) is args[0].dtype)


def _adds_in_place(args: tuple[Any, ...], are_same: Callable[[Any, Any], bool]) -> bool:
    """Whether eager code adds into the first tensor: autograd's sums, and a mask to scores.

    A gradient that is spread out from fewer numbers, or is a part of more, does not fill its
    storage: torch adds to that out of place.
    """
    if not all(isinstance(one, torch.Tensor) for one in args[:2]):
        return False
    if _in_math_attention.get():
        # The scores are a product that was made for this.
        return bool(args[0].dim() >= args[1].dim())
    node = "" if torch.is_grad_enabled() else current_node()
    return (
        bool(node)
        and node not in _ADDS
        and args[0].dtype is args[1].dtype
        and args[0].dim() == args[1].dim()
        and is_held_once(args)
        and args[0].layout is torch.strided
        and are_same(args[0].untyped_storage().nbytes(), num_bytes(args[0]))
        and is_asked_by_engine()
    )
