"""The reference kernels with other functions in place of some that they call."""

from __future__ import annotations

import contextlib
import functools
import importlib
import types
from typing import TYPE_CHECKING, Any
from unittest import mock

from oom_suite.workloads.sparse_mla.kernels import dispatch, gather, prefill

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

    import torch

_KERNELS = "oom_suite.workloads.sparse_mla.kernels.on_triton"
_PIECES = "oom_suite.selfcheck.faults.in_triton"

GATHER, DECODE = ("gather", "gather_sparse_kernel"), ("decode", "decode_kernel")
WINDOWS = ("gather", "gather_dense_kernel")
RANK, COMBINE = ("prefill", "rank_kernel"), ("prefill", "combine_kernel")
"""Kernels that have pieces: the file of each, and its name."""


@contextlib.contextmanager
def planted(tensor: torch.Tensor, kernel: tuple[str, str], **pieces: str) -> Iterator[None]:
    """While active, the portable kernel runs with these pieces, whatever fast path there is.

    Where torch does the call, it has no such pieces and stays as it is.

    Args:
        tensor: says by its device who does the call.
        kernel: one of those above.
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


def _takes_none(tensor: torch.Tensor) -> bool:
    """No tensor is Triton's."""
    del tensor
    return False


@contextlib.contextmanager
def _in_torch(step: dict[str, Any], module: ModuleType) -> Iterator[None]:
    """While active, torch does what this module does, on a CPU: the interpreter is slow."""
    if step["k_cache"].is_cuda:
        yield
        return
    # A mock would keep the tensors that it is called with.
    with mock.patch.object(module, "takes_triton", _takes_none):
        yield


def counting_bits(step: dict[str, Any], piece: str) -> None:
    """A chunk whose union is ranked, and looked up, with this in place of `popcount`."""
    with (
        _in_torch(step, gather),
        planted(step["k_cache"], RANK, popcount=piece),
        planted(step["k_cache"], COMBINE, popcount=piece),
    ):
        prefill.union_staging(**step)


def finding_windows(step: dict[str, Any], piece: str) -> None:
    """A chunk whose windows' first tokens are found with this in place of `places`."""

    def decoded(out: torch.Tensor, *rest: Any) -> None:
        gather.dequantize_and_gather_k_cache(out, *rest)
        with (
            mock.patch.object(gather, "takes_triton", dispatch.takes_triton),
            planted(out, WINDOWS, places=piece),
        ):
            gather.dequantize_and_gather_k_cache(out[:, :1], *rest)

    with (
        _in_torch(step, prefill),
        _in_torch(step, gather),
        mock.patch.object(prefill, "dequantize_and_gather_k_cache", decoded),
    ):
        prefill.union_staging(**step)
