"""Sums of gradients: autograd adds to the one that it alone holds, in its own memory.

It does not where a tensor is fake, or a dispatch mode looks on: there it makes every sum anew,
which takes more than the same code does without either.

Source: PyTorch 2.13 ``torch/csrc/autograd/input_buffer.cpp``, ``accumulate`` and
``can_accumulate_inplace``; ``aten/src/ATen/TensorSubclassLikeUtils.h``.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.operands import tensors
from oom_suite.torch_compat.autograd import node_number, num_holders
from oom_suite.torch_compat.dispatch import DispatchMode, storage_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.torch_compat.dispatch import OpOverload

_ADD, _ADD_IN_PLACE = torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor

_ALONE = (4, 2)
"""`num_holders` of a sum that the engine alone holds: its buffer, the Python object, and two lists
of arguments; torch 2.11, 2.13 and 2.15 are alike."""


class Accumulating:
    """Knows which node of a backward pass made what, and so which additions are the engine's own.

    A derivative's formula adds what it has made itself; the engine adds to what an earlier node
    gave.
    """

    def __init__(self) -> None:
        """No backward pass has begun."""
        self._pass = -1
        self._makers: dict[int, int] = {}
        self._num_references = references_of_a_temporary()

    def replaced(self, func: OpOverload, args: tuple[Any, ...]) -> OpOverload:
        """The operator itself, or the addition in place that the engine would have called."""
        if func is not _ADD or len(args) != 2 or torch.is_grad_enabled():
            return func
        now = node_number()
        if now is None or not _are_alike(*args):
            return func
        if sys.getrefcount(args[0]) > self._num_references:
            return func
        have = num_holders(args[0])
        is_alone = all(count <= alone for count, alone in zip(have, _ALONE, strict=True))
        return _ADD_IN_PLACE if is_alone and self._is_earlier(now, args[0]) else func

    def made(self, result: Any) -> None:
        """Remember who made a result of the backward pass that is under way, if one is."""
        now = node_number()
        if now is None:
            return
        if now[0] != self._pass:
            self._pass = now[0]
            self._makers = {}
        for tensor in tensors(result):
            if tensor.layout is torch.strided:
                self._makers[storage_key(tensor.untyped_storage())] = now[1]

    def _is_earlier(self, now: tuple[int, int], tensor: torch.Tensor) -> bool:
        maker = self._makers.get(storage_key(tensor.untyped_storage()))
        return now[0] == self._pass and maker is not None and maker != now[1]


class _Counts(DispatchMode):  # type: ignore[no-untyped-call]  # untyped by torch
    """Counts how often Python holds the first argument of one operator."""

    num_references = 0

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self._count(func, args)
        return func(*args, **(kwargs or {}))

    def _count(self, func: OpOverload, args: tuple[Any, ...]) -> None:
        if func is torch.ops.aten.nll_loss_forward.default:
            self.num_references = sys.getrefcount(args[0])


@functools.cache
def references_of_a_temporary() -> int:
    """How often Python holds a tensor that C++ made and hands to a mode: its own arguments.

    Tried out, for Python's versions differ: a loss gives a temporary to its second half.
    """
    counts = _Counts()  # type: ignore[no-untyped-call]  # untyped by torch
    scores = torch.ones(1, 2, device="cpu")
    target = torch.zeros(1, dtype=torch.int64, device="cpu")
    with torch.inference_mode(mode=False), torch.no_grad(), counts:
        torch.nn.functional.cross_entropy(scores, target)
    return counts.num_references


def _are_alike(total: Any, more: Any) -> bool:
    """Whether both are plain tensors of one kind and size, the first without gaps."""
    return (
        isinstance(total, torch.Tensor)
        and isinstance(more, torch.Tensor)
        and total.layout is torch.strided
        and more.layout is torch.strided
        and total.dtype is more.dtype
        and total.shape == more.shape
        and _has_no_gaps(total)
    )


def _has_no_gaps(tensor: torch.Tensor) -> bool:
    if tensor.is_contiguous():
        return True
    sizes = [(step, size) for size, step in zip(tensor.shape, tensor.stride(), strict=True)]
    expected: Any = 1
    for step, size in sorted(each for each in sizes if each[1] != 1):
        if step != expected:
            return False
        expected = step * size
    return True
