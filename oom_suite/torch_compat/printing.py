"""Who prints a tensor, which reads its values."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

from oom_suite.torch_compat.probes import Name, needed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = (
    Name(
        "torch._tensor_str:_str",
        positional=1,
        keywords=("tensor_contents",),
        asked_by="torch:Tensor.__repr__",
    ),
)
"""The names of torch behind this module."""

with needed("the capture check needs", NAMES):
    from torch import _tensor_str


@contextlib.contextmanager
def prints_noted(note: Callable[[torch.Tensor], None]) -> Iterator[None]:
    """While active, `note` is called with each tensor that is printed, before it is."""
    show = _tensor_str._str

    def shown(tensor: torch.Tensor, **options: Any) -> str:
        note(tensor)
        text: str = show(tensor, **options)  # type: ignore[no-untyped-call]  # torch does not annotate it
        return text

    with mock.patch.object(_tensor_str, "_str", shown):
        yield
