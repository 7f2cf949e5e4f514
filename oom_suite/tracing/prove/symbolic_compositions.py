"""What `compositions` looks into by torch's own C++ parts, as Python: those want plain sizes.

Source: PyTorch 2.13 ``aten/src/ATen/native/ReduceOps.cpp`` (``logsumexp_out_impl``), ``Loss.cpp``
(``binary_cross_entropy_with_logits``), ``SoftMax.cpp`` (``_safe_softmax``),
``Distance.cpp`` (``dist``), ``TensorCompare.cpp`` (``isinf``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def _logsumexp(
    self: torch.Tensor,
    dim: list[int],
    keepdim: bool = False,
) -> torch.Tensor:
    if not self.is_floating_point():
        self = self.to(torch.get_default_dtype())
    maxes = torch.amax(self, dim, keepdim=True)
    squeezed = maxes if keepdim else maxes.squeeze(tuple(dim))
    squeezed.masked_fill_(squeezed.abs() == math.inf, 0)
    result: torch.Tensor = torch.sum((self - maxes).exp_(), dim, keepdim=keepdim)
    return result.log_().add_(squeezed)


def _safe_softmax(self: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> torch.Tensor:
    result = torch.softmax(self, dim, dtype)
    masked = torch.isneginf(self)
    rows = torch.all(masked, dim, keepdim=True)
    zero = torch.scalar_tensor(0.0, dtype=result.dtype, device=result.device)
    return torch.where(rows, zero, result, out=result)


def _binary_cross_entropy(
    self: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    pos_weight: torch.Tensor | None = None,
    reduction: int = 1,
) -> torch.Tensor:
    log_sigmoid = torch.nn.functional.logsigmoid(self)
    if pos_weight is not None:
        log_sigmoid.mul_((pos_weight - 1).mul(target).add_(1))
    loss = (1 - target).mul_(self).sub_(log_sigmoid)
    if weight is not None:
        loss.mul_(weight)
    if reduction == 0:
        return loss
    return loss.mean() if reduction == 1 else loss.sum()


def _dist(self: torch.Tensor, other: torch.Tensor, p: float = 2) -> torch.Tensor:
    found: torch.Tensor = torch.ops.aten.norm.Scalar(self - other, p)
    return found


def _isinf(self: torch.Tensor) -> torch.Tensor:
    if not self.is_floating_point():
        return torch.zeros_like(self, dtype=torch.bool)
    return self.abs() == math.inf


SYMBOLIC_COMPOSITIONS: dict[str, Callable[..., Any]] = {
    "aten::logsumexp": _logsumexp,
    "aten::_safe_softmax": _safe_softmax,
    "aten::binary_cross_entropy_with_logits": _binary_cross_entropy,
    "aten::dist": _dist,
    "aten::isinf": _isinf,
}
"""How to run an operator as its parts when its sizes are symbols."""
