"""The gradients of products, which torch computes by one of several formulas.

Zeros among the entries choose the formula: all are seen, or the one that takes the most. On fakes
torch goes another way: through a running product entry by entry, which takes neither time nor
memory as it does, and through a product as if one entry were zero.

Source: PyTorch 2.11 and 2.13 ``aten/src/ATen/native/ReduceOps.cpp``, ``cumprod_backward``;
``torch/csrc/autograd/FunctionsManual.cpp``, ``prod_backward``, ``prod_safe_zeros_backward``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.scratch import gradient_follows
from oom_suite.torch_compat.dispatch import COMPOSED_IMPLICITLY, WITH_GRADIENT, run_kernel
from oom_suite.torch_compat.fakes import FakeTensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.torch_compat.dispatch import OpOverload

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


def product(func: OpOverload, is_wanted: Callable[[], bool]) -> Callable[..., Any]:
    """What stands for a product whose gradient may follow, of all entries or of one dimension.

    Args:
        func: the operator.
        is_wanted: whether a target was named whose kernels fakes take.
    """

    def run(source: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        has_gradient = torch.is_grad_enabled() and source.requires_grad
        if has_gradient and is_wanted() and isinstance(source, FakeTensor):
            return _Product.apply(source, func, args, kwargs)  # type: ignore[no-untyped-call]  # torch does not annotate it
        return run_kernel(func, WITH_GRADIENT, (source, *args), kwargs)

    return run


class _Product(torch.autograd.Function):
    """A product, and its gradient by every formula that zeros may choose."""

    @staticmethod
    def forward(
        ctx: Any, source: torch.Tensor, func: OpOverload, args: tuple[Any, ...], kwargs: Any
    ) -> torch.Tensor:
        with gradient_follows():
            result: torch.Tensor = run_kernel(func, WITH_GRADIENT, (source, *args), kwargs)
        ctx.save_for_backward(source, result)
        ctx.places = args
        return result

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        (grad,), (source, _) = grads, ctx.saved_tensors
        source = source.to(grad.dtype)
        if source.dim() == 0:
            found = grad.clone()
        elif ctx.places:
            found = _of_dimension(grad, source, *ctx.places)
        else:
            found = _of_all(grad, source)
        return found, None, None, None


def _of_all(grad: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Where each entry is zero they are listed, and the gradient is zero; with one it is made."""
    positions = (source == 0).nonzero()
    torch.zeros_like(source)
    del positions
    position = torch.empty(1, source.dim(), dtype=torch.int64, device=source.device)
    found = _with_zeros(grad, source.contiguous().view(-1), 0).view_as(source)
    del position
    return found


def _of_dimension(
    grad: torch.Tensor, source: torch.Tensor, dim: int, keepdim: bool = False
) -> torch.Tensor:
    """The formula for zeros, beside what counts them."""
    grad = grad if keepdim else grad.unsqueeze(dim)
    is_zero = source == 0
    counts = is_zero.sum(dim, keepdim=True)
    counts.sum()
    found = _with_zeros(grad, source, dim)
    del is_zero, counts
    return found


def _with_zeros(grad: torch.Tensor, source: torch.Tensor, dim: int) -> torch.Tensor:
    """What comes before an entry, times what comes after it, as running products."""
    length = source.shape[dim]
    if source.numel() == 0:
        return grad.expand_as(source)
    if length == 1:
        return grad
    shape = [1 if place == dim % source.dim() else size for place, size in enumerate(source.shape)]
    ones = torch.ones(shape, dtype=grad.dtype, device=grad.device)
    before = torch.cat([ones, source.narrow(dim, 0, length - 1)], dim)
    befores = before.cumprod(dim)
    after = torch.cat([ones, source.narrow(dim, 1, length - 1).flip(dim)], dim)
    del ones
    afters = after.cumprod(dim).flip(dim)
    return grad * (befores * afters)
