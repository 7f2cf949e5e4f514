"""The reference kernels with other functions in place of some that they call."""

from __future__ import annotations

import contextlib
import functools
import importlib
import types
from typing import TYPE_CHECKING, Any
from unittest import mock

from oom_suite.workloads.sparse_mla.kernels import dispatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

_KERNELS = "oom_suite.workloads.sparse_mla.kernels.on_triton"
_PIECES = "oom_suite.selfcheck.faults.in_triton"

GATHER, DECODE = ("gather", "gather_sparse_kernel"), ("decode", "decode_kernel")
"""Kernels that have pieces: the file of each, and its name."""


@contextlib.contextmanager
def planted(tensor: torch.Tensor, kernel: tuple[str, str], **pieces: str) -> Iterator[None]:
    """While active, the portable kernel runs with these pieces, whatever fast path there is.

    Where torch does the call, it has no such pieces and stays as it is.

    Args:
        tensor: says by its device who does the call.
        kernel: `GATHER` or `DECODE`.
        pieces: for the name of a function that it calls, at any depth, that of another in
            `oom_suite.selfcheck.faults.in_triton`.

    Raises:
        LookupError: the kernel calls no such function.
    """
    if not dispatch.takes_triton(tensor):
        yield
        return
    file, name = kernel
    module = importlib.import_module(f"{_KERNELS}.{file}")
    with (
        mock.patch.object(module, name, _variant(file, name, tuple(pieces.items()))),
        mock.patch.object(dispatch, "_fast", []),
    ):
        yield


@functools.cache
def _variant(file: str, name: str, pieces: tuple[tuple[str, str], ...]) -> Any:
    """The kernel with these pieces; the same each time, so that it is compiled once."""
    known = importlib.import_module(_PIECES)
    found: set[str] = set()
    kernel = getattr(importlib.import_module(f"{_KERNELS}.{file}"), name)
    made = _with(kernel, {own: getattr(known, other) for own, other in pieces}, found)
    if missing := {own for own, _ in pieces} - found:
        raise LookupError(f"{file}.{name} calls no {', '.join(sorted(missing))}")
    return made


def _with(kernel: Any, pieces: Mapping[str, Any], found: set[str]) -> Any:
    """A copy of Triton's function in whose globals the pieces are, and in those it calls."""
    import triton

    own, function = dict(kernel.fn.__globals__), kernel.fn
    for name in function.__code__.co_names:
        if name in pieces:
            found.add(name)
            own[name] = pieces[name]
        elif isinstance(own.get(name), type(kernel)):
            own[name] = _with(own[name], pieces, found)
    copy = types.FunctionType(function.__code__, own, function.__name__, function.__defaults__)
    copy.__annotations__ = function.__annotations__
    copy.__doc__, copy.__qualname__ = function.__doc__, function.__qualname__
    return triton.jit(copy)
