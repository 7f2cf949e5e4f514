"""RMS norm as CUDA's one kernel does it, where torch without that kernel composes it of many.

Source: PyTorch 2.13 ``aten/src/ATen/native/layer_norm.cpp`` (``rms_norm_symint``),
``cuda/layer_norm_kernel.cu`` (``_fused_rms_norm_cuda``, ``_fused_rms_norm_backward_cuda``,
``RMSNormBackwardKernelImpl``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.torch_compat.dispatch import has_operator

if TYPE_CHECKING:
    from collections.abc import Sequence

HAS_KERNEL = has_operator("aten::_fused_rms_norm_backward")
"""Whether this torch has the kernel on a GPU: since 2.9."""


def is_fused(x: torch.Tensor, weight: torch.Tensor | None) -> bool:
    """Whether torch takes the one kernel: not for channels last, nor for mixed types."""
    if not HAS_KERNEL or (weight is not None and weight.dtype != x.dtype):
        return False
    is_last = (x.dim() == 4 and _is_last(x, torch.channels_last)) or (
        x.dim() == 5 and _is_last(x, torch.channels_last_3d)
    )
    return not is_last


def _is_last(x: torch.Tensor, layout: torch.memory_format) -> bool:
    return not x.is_contiguous() and x.is_contiguous(memory_format=layout)


def rms_norm(
    x: torch.Tensor,
    shape: Sequence[int],
    weight: torch.Tensor | None,
    num_parts: Any,
    shared: Sequence[int] = (),
) -> torch.Tensor:
    """A tensor like `x`, and what the kernel keeps for its gradient.

    Args:
        x: what is normalised.
        shape: the last dimensions, over which it is.
        weight: of that shape.
        num_parts: blocks that sum parts of the weight's gradient each; 0 for none.
        shared: bytes that the sum of those shares among its own blocks.
    """
    applied: Any = _RmsNorm.apply
    result: torch.Tensor = applied(x, weight, len(shape), num_parts, tuple(shared))
    return result


class _RmsNorm(torch.autograd.Function):
    """The kernel's requests; there is nothing to compute on tensors without memory."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        num_dims: int,
        num_parts: Any,
        shared: tuple[int, ...],
    ) -> Any:
        """The result, and a float for each row."""
        rows = x.contiguous()
        result = torch.empty_like(rows)
        kept = x.shape[: x.dim() - num_dims] + (1,) * num_dims
        dtype = torch.float64 if x.dtype is torch.float64 else torch.float32
        ctx.save_for_backward(x, weight, torch.empty(kept, dtype=dtype, device=x.device))
        ctx.num_parts, ctx.shared = num_parts, shared
        return result

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        """The gradients, each where it is wanted; the gradient that comes in is made contiguous."""
        x, weight, _ = ctx.saved_tensors
        rows = x.contiguous()
        wants_x, wants_weight, *_ = ctx.needs_input_grad
        of_x = torch.empty_like(rows) if wants_x else None
        of_weight = torch.empty_like(weight) if weight is not None and wants_weight else None
        grads = grad.contiguous()
        if of_weight is not None and ctx.num_parts:
            parts = of_weight.new_empty(ctx.num_parts, of_weight.numel())
            whole, of_weight = of_weight, torch.empty_like(of_weight)
            of_sum = [x.new_empty(size, dtype=torch.uint8) for size in ctx.shared]
            del of_sum, parts, whole
        del grads
        return of_x, of_weight, None, None, None
