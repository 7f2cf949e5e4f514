"""A training step of any call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


def trained(results: object) -> None:
    """The backward pass of the sum of all results that have a gradient."""
    total = None
    for result in _tensors(results):
        if result.requires_grad and result.is_floating_point():
            part = result.sum()
            total = part if total is None else total + part
    if total is not None:
        total.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it


def _tensors(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
