"""Runs attention and RMS norm on fake tensors by the kernels that torch takes on the target."""

from __future__ import annotations

import contextlib
import functools
import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from oom_suite.operators import attention_steps as attention_steps_of
from oom_suite.operators import norm_steps
from oom_suite.operators.attention import Attention, Device, choice
from oom_suite.torch_compat.attention import (
    CUDNN,
    EFFICIENT,
    FLASH,
    cudnn_attention,
    efficient_attention,
    flash_attention,
)
from oom_suite.torch_compat.dispatch import COMPOSED_IMPLICITLY, run_kernel
from oom_suite.torch_compat.fakes import FakeTensor
from oom_suite.tracing.rms_norm import is_fused, rms_norm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oom_suite.operators.steps import Step
    from oom_suite.targets.target import Target

_WHOLE_NORM = torch.ops.aten.rms_norm.default
_WHOLE = torch.ops.aten.scaled_dot_product_attention.default
_BIAS_ALIGNMENT = 8
_WIDTH_ALIGNMENT = 8

_device: Device | None = None


def device_of_target(target: Target) -> Device | None:
    """What decides the kernel; None where the target has none of its own."""
    if target.backend not in {"cuda", "rocm"}:
        return None
    return Device(target.backend, target.capability, target.num_multiprocessors, target.dnn_version)


def own_steps(name: str, args: tuple[Any, ...], result: Any) -> tuple[Step, ...] | None:
    """What the device's kernel requests in that call; None where no device was named."""
    if _device is None:
        return None
    of_attention = attention_steps_of.inside(name, args, result, _device)
    return of_attention or norm_steps.inside(name, args, result, _device)


def is_taken() -> bool:
    """Whether attention is a named device's now."""
    return _device is not None


def explains(family: str) -> bool:
    """Whether all that a call of an operator takes is known for the device that was named."""
    if _device is None:
        return False
    whole = _device.backend == "cuda" and attention_steps_of.is_whole(family)
    return whole or family == "aten::_safe_softmax"


def is_partial(family: str) -> bool:
    """Whether a library takes more in such a call than `own_steps` knows."""
    return _device is not None and attention_steps_of.is_partial(family)


@contextlib.contextmanager
def attention_on(device: Device | None) -> Iterator[None]:
    """While active, attention on fake tensors is that device's; None leaves it as it is.

    Where gradients are possible, torch takes attention apart above dispatch, where no mode looks:
    so it is replaced there.
    """
    global _device
    if device is not None:
        _replace()
    before, _device = _device, device
    try:
        yield
    finally:
        _device = before


@functools.cache
def _replace() -> Any:
    """Take attention's calls before torch takes them apart, once in a process."""
    # torch does not annotate its library of operators.
    library: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    for name, function in REPLACED.items():
        library.impl(name.removeprefix("aten::"), function, "AutogradCUDA")
    return library


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """`torch.nn.functional.scaled_dot_product_attention` as the target does it.

    Source: PyTorch 2.13 ``aten/src/ATen/native/transformers/attention.cpp``.
    """
    call = Attention(query, key, value, attn_mask, dropout_p, is_causal, enable_gqa)
    fits = isinstance(query, FakeTensor) and (attn_mask is None or not is_causal)
    kernel = choice(call, _device) if _device is not None and fits else None
    if kernel == FLASH:
        width = query.shape[-1]
        padded = [_padded(each, _WIDTH_ALIGNMENT) for each in (query, key, value)]
        result = flash_attention(*padded, dropout_p, is_causal, False, scale=scale)[0]
        return result if result.shape[-1] == width else result[..., :width]
    bias = _as_bias(attn_mask, query.dtype) if kernel in {CUDNN, EFFICIENT} else None
    if kernel == CUDNN:
        return cudnn_attention(
            query, key, value, bias, call.needs_gradients, dropout_p, is_causal, False, scale=scale
        )[0]
    if kernel == EFFICIENT:
        if bias is not None:
            last = bias.shape[-1]
            aligned = _padded(bias, _BIAS_ALIGNMENT)
            bias = aligned if aligned is bias else aligned[..., :last]
            bias = bias.expand(*query.shape[:-1], key.shape[-2])
        return efficient_attention(
            query, key, value, bias, call.needs_gradients, dropout_p, is_causal, scale=scale
        )[0]
    args = (query, key, value, attn_mask, dropout_p, is_causal)
    kwargs = {"scale": scale, "enable_gqa": enable_gqa}
    return run_kernel(_WHOLE, COMPOSED_IMPLICITLY, args, kwargs)


def _padded(tensor: torch.Tensor, alignment: int) -> torch.Tensor:
    missing = -tensor.shape[-1] % alignment
    return F.pad(tensor, (0, missing)) if missing else tensor


def _as_bias(mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """What is added to the scores."""
    if mask is None or mask.dtype is not torch.bool:
        return mask
    scalar = functools.partial(torch.scalar_tensor, dtype=dtype, device=mask.device)
    return torch.where(mask, scalar(0.0), scalar(-math.inf))


def normalise(
    x: torch.Tensor,
    normalized_shape: list[int],
    weight: torch.Tensor | None = None,
    eps: float | None = None,
) -> Any:
    """`torch.nn.functional.rms_norm` as the target does it."""
    if _device is not None and isinstance(x, FakeTensor) and is_fused(x, weight):
        columns = math.prod(normalized_shape)
        parts = norm_steps.num_parts(x.numel() // columns, columns, _device)
        return rms_norm(x, normalized_shape, weight, parts)
    args = (x, normalized_shape, weight, eps)
    return run_kernel(_WHOLE_NORM, COMPOSED_IMPLICITLY, args, {})


REPLACED: dict[str, Callable[..., Any]] = {
    "aten::rms_norm": normalise,
    "aten::scaled_dot_product_attention": attend,
}
"""What torch composes of other operators, and a GPU has kernels of its own for."""
