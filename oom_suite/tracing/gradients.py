"""The gradient of a running product, which torch computes by one of several formulas.

A running product's formula depends on zeros: the one that takes the most is seen. On fakes torch
goes through the product entry by entry instead, which takes neither time nor memory as it does.

Source: PyTorch 2.11 and 2.13 ``aten/src/ATen/native/ReduceOps.cpp``, ``cumprod_backward``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.torch_compat.dispatch import COMPOSED_IMPLICITLY, run_kernel
from oom_suite.torch_compat.fakes import FakeTensor

if TYPE_CHECKING:
    from collections.abc import Callable


_WHOLE = torch.ops.aten.cumprod_backward.default


def running_product(is_wanted: Callable[[], bool]) -> Callable[..., Any]:
    """What stands for the gradient of a running product on a target.

    Args:
        is_wanted: whether a target was named whose kernels fakes take.
    """

    def backward(
        grad: torch.Tensor, source: torch.Tensor, dim: int, output: torch.Tensor
    ) -> torch.Tensor:
        is_taken = is_wanted() and isinstance(source, FakeTensor) and not torch.is_grad_enabled()
        if not is_taken or source.dim() == 0 or source.numel() <= 1 or source.shape[dim] == 1:
            found: torch.Tensor = run_kernel(
                _WHOLE, COMPOSED_IMPLICITLY, (grad, source, dim, output), {}
            )
            return found
        return _at_most(grad, source, dim, output)

    return backward


def _at_most(
    grad: torch.Tensor, source: torch.Tensor, dim: int, output: torch.Tensor
) -> torch.Tensor:
    """The formula for zeros, which takes the most where all comes before the first of them."""
    weights, is_zero = output * grad, source == 0
    is_zero.any()
    result = torch.zeros(source.shape, dtype=grad.dtype, device=grad.device)
    num_zeros = is_zero.cumsum(dim)
    before = num_zeros == 0
    after = ~before
    filled = weights.masked_fill(after, 0.0)
    flipped = filled.flip(dim)
    summed = flipped.cumsum(dim)
    sums = summed.flip(dim)
    del flipped, summed
    sums.div_(source)
    # The entries are picked by their positions: here all of them.
    positions = torch.empty(source.numel(), source.dim(), dtype=torch.int64, device=grad.device)
    picked = sums.new_empty(source.numel())
    del positions
    result.masked_scatter_(before, picked)
    return result
