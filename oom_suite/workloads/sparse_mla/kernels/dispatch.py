"""Which implementation an operation takes: a fast path for the device, Triton, or torch."""

from __future__ import annotations

import functools
import importlib.util
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


@dataclass(frozen=True, slots=True)
class FastPath:
    """An implementation for some devices, asked before the portable ones.

    Attributes:
        operation: ``"gather_sparse"``, ``"gather_dense"`` or ``"decode"``.
        applies: whether it serves this call; given the call's keywords.
        run: does the call; given the same.
    """

    operation: str
    applies: Callable[..., bool]
    run: Callable[..., None]


_fast: list[FastPath] = []


def register_fast_path(path: FastPath) -> None:
    """Ask this implementation before all that were registered earlier."""
    _fast.insert(0, path)


def run_fast(operation: str, **call: Any) -> bool:
    """Whether a fast path applied; it has done the call then."""
    for path in _fast:
        if path.operation == operation and path.applies(**call):
            path.run(**call)
            return True
    return False


def takes_triton(tensor: torch.Tensor) -> bool:
    """Whether the call is Triton's: the tensor is on a GPU, or Triton interprets its kernels.

    Raises:
        UsageError: it is on a GPU, and Triton is not installed.
    """
    if os.environ.get("TRITON_INTERPRET") == "1" and _has_triton():
        return True
    if not tensor.is_cuda:
        return False
    if not _has_triton():
        raise UsageError(
            "these kernels need Triton on a GPU, and it is not installed: "
            "pip install 'oom-suite[triton]'"
        )
    return True


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
