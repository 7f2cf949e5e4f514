"""Copies that operators make of what they are given: to another type, to be contiguous.

Source: PyTorch 2.13 ``aten/src/ATen/native/Pow.cpp`` (``pow.Tensor_Scalar``),
``TensorCompare.cpp`` (``clamp``, ``clamp_max``, ``clamp_min``): an input is brought to the common
type before there is a result; ``UnaryOps.cpp`` (``unary_op_impl_with_complex_to_float_out``);
``cuda/MaxUnpooling.cu``: inputs are made contiguous.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from oom_suite.operators.kernels import num_bytes
from oom_suite.operators.operands import tensors
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step

    Formula = Callable[[Call], Iterable[Step] | None]


def _promoted(call: Call) -> Iterable[Step]:
    """With a number beside it, an input is copied to the common type."""
    source, result = call.args[0], next(tensors(call.result))
    is_with_number = not any(isinstance(each, torch.Tensor) for each in call.args[1:])
    is_new = isinstance(source, torch.Tensor) and source is not result
    if not is_new or not is_with_number or source.dtype is result.dtype:
        return list(call.results())
    copy = Take("in the common type", source.numel() * result.element_size(), call.op)
    return [copy, *call.results(), Give("in the common type")]


def _real_of_complex(call: Call) -> Iterable[Step]:
    """Of complex numbers it is computed as complex numbers, whose real parts are taken."""
    source, result = call.input, next(tensors(call.result))
    as_complex = num_bytes(source) if source.is_complex() and not result.is_complex() else 0
    return [*call.results(), *call.temporary(as_complex, "as complex numbers")]


def _unpooled(call: Call) -> Iterable[Step]:
    copies = [
        Take(name, num_bytes(each), call.op)
        for name, each in (("values", call.args[0]), ("indices", call.args[1]))
        if not each.is_contiguous()
    ]
    return [*call.results(), *copies, *(Give(str(each.name)) for each in reversed(copies))]


FORMULAS: dict[str, Formula] = {
    "aten::abs": _real_of_complex,
    "aten::angle": _real_of_complex,
    "aten::pow": _promoted,
    "aten::clamp": _promoted,
    "aten::clamp_max": _promoted,
    "aten::clamp_min": _promoted,
    "aten::max_unpool2d": _unpooled,
    "aten::max_unpool3d": _unpooled,
}
