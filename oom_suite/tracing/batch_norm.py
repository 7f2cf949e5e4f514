"""Batch norm as torch calls cuDNN for it, where fakes would take the kernel of torch's own.

Source: PyTorch 2.13 ``aten/src/ATen/native/Normalization.cpp`` (``_select_batch_norm_backend``,
``_batch_norm_impl_index``).
"""

from __future__ import annotations

from typing import Any

import torch

from oom_suite.torch_compat import library_layers

CUDNN_INDEX = 1
"""What torch calls cuDNN's implementation by."""

_MOST_IN_TRAINING, _MOST_ELSE = 880_801, 65_535
"""Samples of a batch."""
_MOST_ENTRIES = 2**31 - 1


def takes_cudnn(
    x: torch.Tensor,
    weight: torch.Tensor,
    running: tuple[torch.Tensor | None, torch.Tensor | None],
    *,
    training: bool,
) -> bool:
    """Whether torch calls cuDNN on a GPU that has it."""
    if x.dim() < 3:
        return False
    if torch.bfloat16 in {x.dtype, weight.dtype}:
        return False
    if x.dtype is torch.float16 and weight.dtype is not torch.float32:
        return False
    has_running = [each is not None for each in running]
    if not all(has_running) and (any(has_running) or not training):
        return False
    most = _MOST_IN_TRAINING if training else _MOST_ELSE
    return bool(x.shape[0] <= most and x.numel() < _MOST_ENTRIES)


def cudnn_batch_norm(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    running: tuple[torch.Tensor | None, torch.Tensor | None],
    *,
    training: bool,
    momentum: float,
    epsilon: float,
) -> tuple[Any, ...]:
    """The result, what is kept for its gradient, and which implementation it was."""
    given = (x, weight, bias, *running)
    lie = [None if each is None else each.contiguous() for each in given]
    lie[0] = x.contiguous(memory_format=layout(x))
    found = library_layers.cudnn_batch_norm(*lie, training, momentum, epsilon)
    return (*found, CUDNN_INDEX)


def layout(x: torch.Tensor) -> torch.memory_format:
    """How torch lays out what is made of a tensor: as the tensor lies itself.

    Source: PyTorch 2.13 ``c10/core/TensorImpl.h``, ``suggest_memory_format``.
    """
    for dims, last in ((4, torch.channels_last), (5, torch.channels_last_3d)):
        if x.dim() == dims and not x.is_contiguous() and x.is_contiguous(memory_format=last):
            return last
    return torch.contiguous_format
