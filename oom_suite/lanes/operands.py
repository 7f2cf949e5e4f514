"""The tensors among an operator's arguments or results, without the cost of a general pytree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICE_QUERY = torch.ops.prim.device.default
"""What ``tensor.device`` becomes on a fake tensor: an operator call that makes nothing."""


def tensors(value: Any) -> Iterator[torch.Tensor]:  # noqa: ANN401 - any operator's arguments
    """Every tensor in a value: itself, or inside tuples, lists and the values of a dict."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)


def device_type(tensor: torch.Tensor) -> str:
    """The type of the device that a tensor, fake or real, is on."""
    fake_device = getattr(tensor, "fake_device", None)
    device: torch.device = tensor.device if fake_device is None else fake_device
    return device.type
