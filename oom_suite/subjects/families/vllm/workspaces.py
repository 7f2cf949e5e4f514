"""vLLM's workspace, one buffer that grows and that callers cut up: here a new one for each call."""

from __future__ import annotations

import functools
from contextvars import ContextVar
from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.subjects.loading import Given

    Part = tuple[tuple[int, ...], torch.dtype]

_ALIGNMENT = 256


class Workspace:
    """The buffer of one call.

    A server keeps one from its start and locks its size. Here each call begins without, so that
    its law has the bytes that the server's must have.

    Source: vLLM 0.33.0 `vllm/v1/worker/workspace.py:183-208`: parts are aligned to 256 bytes, and
    a larger buffer is made after the smaller one is let go.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._buffer: torch.Tensor | None = None

    def get_simultaneous(self, *parts: Part) -> list[torch.Tensor]:
        """A view for each shape and dtype, one after the other in the buffer."""
        sizes = [prod(shape) * dtype.itemsize for shape, dtype in parts]
        aligned = [-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes]
        starts = accumulate([0, *aligned[:-1]])
        if self._buffer is None or self._buffer.numel() < sum(aligned):
            self._buffer = None
            self._buffer = torch.empty(sum(aligned), dtype=torch.uint8, device=self._device)
        return [
            self._buffer[start : start + size].view(dtype).reshape(shape)
            for start, size, (shape, dtype) in zip(starts, sizes, parts, strict=True)
        ]


_current: ContextVar[Workspace | None] = ContextVar("oom_suite_workspace", default=None)


def workspace(given: Given) -> dict[str, Any]:
    """The workspace of the call that is being made."""

    def current_workspace_manager() -> Workspace:
        found = _current.get()
        if found is None:
            given.log.refuse("vllm.v1.worker.workspace.current_workspace_manager()")
        return found

    return {"current_workspace_manager": current_workspace_manager}


def with_own_workspace(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, each call of which has a workspace where its first tensor lies."""

    @functools.wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        tensors = (one for one in keywords.values() if isinstance(one, torch.Tensor))
        token = _current.set(Workspace(next(tensors).device))
        try:
            return function(*args, **keywords)
        finally:
            _current.reset(token)

    return call
