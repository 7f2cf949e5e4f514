"""Makes the inputs of a call at any size, with real tensors and with fake ones alike."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

SHORT = 64
"""The width of short rows."""


@dataclass(frozen=True)
class Make:
    """Makes a call's inputs.

    Attributes:
        rows: of the main input.
        width: of its rows.
        dtype: of its elements.
        device: where it lies.
        has_gradient: whether what `x` makes takes part in a training step.
    """

    rows: int
    width: int
    dtype: torch.dtype
    device: torch.device
    has_gradient: bool

    def x(self, *shape: int) -> torch.Tensor:
        """Floats between 0 and 1, of the main input's shape where none is given."""
        shape = shape or (self.rows, self.width)
        made = torch.rand(*shape, dtype=self.dtype, device=self.device)
        return made.requires_grad_(self.has_gradient)

    def ints(self, high: int, *shape: int) -> torch.Tensor:
        """int64 values below `high`, the same each time, of the main input's shape by default."""
        shape = shape or (self.rows, self.width)
        count = functools.reduce(int.__mul__, shape)
        # 7919 is prime: the values are spread, and not sorted.
        return (torch.arange(count, device=self.device) * 7919 % high).view(*shape)

    def mask(self, *shape: int) -> torch.Tensor:
        """Every second entry."""
        return self.ints(2, *shape) == 0

    def module(self, kind: Callable[..., torch.nn.Module], *args: Any) -> torch.nn.Module:
        """A module with parameters of the same type, in training."""
        return kind(*args, dtype=self.dtype, device=self.device)

    def images(self, channels: int = 16) -> torch.Tensor:
        """About as many elements, as images of 32 by 32."""
        return self.x(max(1, self.rows * self.width // (channels * 1024)), channels, 32, 32)

    def heads(self) -> torch.Tensor:
        """About as many elements, as 8 heads of 64: one long sequence or many short ones."""
        length = min(2048, self.width) if self.width > SHORT else 128
        return self.x(max(1, self.rows * self.width // (8 * 64 * length)), 8, length, 64)


@dataclass(frozen=True)
class Call:
    """A call of the list.

    Attributes:
        run: what is called.
        given: makes a further input, or several; None for none.
        is_alone: whether that input takes the place of the main one.
    """

    run: Callable[..., object]
    given: Callable[[Make], Any] | None = None
    is_alone: bool = False

    def bound(self, make: Make) -> Callable[[], object]:
        """The call, its inputs made."""
        if self.given is None:
            return functools.partial(self.run, make.x())
        given = self.given(make)
        return functools.partial(self.run, *(() if self.is_alone else (make.x(),)), given)
