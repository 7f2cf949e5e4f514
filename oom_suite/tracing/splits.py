"""Which masks are parts of one whole, so that their true entries together are not more than it has.

A loop over experts asks ``chosen == expert`` for one expert after another. Each of these masks may
be true everywhere, but not two of them at one place: at worst all tokens choose one expert. The
same goes for the classes of a one-hot mask, and for a mask and its complement.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.operands import operator, tensors, written_tensors
from oom_suite.torch_compat.dispatch import storage_key

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from oom_suite.torch_compat.dispatch import OpOverload

_COPIES = frozenset({"_to_copy", "clone", "contiguous"})
_TRUTHS = frozenset({"ne", "gt"})
_SUBSETS = frozenset({"logical_and", "bitwise_and", "mul", "__and__"})
_OVER_ROWS = frozenset({"any", "amax"})
_COMPLEMENTS = frozenset({"logical_not", "bitwise_not"})
_ZEROS = frozenset({"zeros", "zeros_like", "new_zeros"})


@dataclass(frozen=True, eq=False)
class Whole:
    """What is shared out among parts, each its own whatever it holds.

    Attributes:
        num_entries: how many entries all parts have together at most.
    """

    num_entries: int


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a whole."""

    whole: Whole
    name: Hashable


@dataclass(frozen=True, slots=True)
class _Classes:
    """A mask of one class after the other, `stride` elements apart."""

    whole: Whole
    stride: int
    num_classes: int


_Label = Part | _Classes | None


class Splits:
    """The masks that are parts of a whole, as far as that is known; kept per storage.

    Args:
        value_of: the values of a tensor as a list of numbers; None where they are not known.
    """

    def __init__(self, value_of: Callable[[torch.Tensor], list[Any] | None]) -> None:
        self._value_of = value_of
        self._labels: dict[int, tuple[weakref.ref[Any], _Label]] = {}
        self._wholes: dict[int, tuple[weakref.ref[Any], dict[Hashable, Whole]]] = {}

    def part(self, mask: torch.Tensor) -> Part | None:
        """The part that a mask is; None where it may have entries whatever others have."""
        label = self._label(mask)
        if any(
            step == 0 and size > 1 for size, step in zip(mask.shape, mask.stride(), strict=True)
        ):
            return None
        if label is None:
            return Part(self._whole(mask), True) if mask.dtype is torch.bool else None
        return label if isinstance(label, Part) else _class_of(label, mask)

    def follow(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        """Learn what an operator that has just run says about masks."""
        facts = operator(func)
        name = facts.family.removeprefix("aten::")
        if facts.is_mutable:
            written = list(written_tensors(facts, args, kwargs))
            zeros = written[0] if len(written) == 1 and self._is_zero(written[0]) else None
            self.forget(written)
            if name in {"scatter_", "scatter"} and zeros is not None:
                self._scattered(zeros, args)
            return
        if not isinstance(result, torch.Tensor) or facts.returns_alias:
            return
        if name == "eq":
            self._equal(args, result)
        elif name in _ZEROS:
            self._keep(result, Part(Whole(0), None))
        elif name == "scatter" and self._is_zero(args[0]):
            self._scattered(result, args)
        elif name in _COMPLEMENTS and result.dtype is torch.bool:
            if self._label(args[0]) is None:
                self._keep(result, Part(self._whole(args[0]), False))
        elif name in _COPIES or (name in _TRUTHS and self._one(args[1]) == 0):
            self._kept(args[0], result)
        elif name in _SUBSETS or name in _OVER_ROWS:
            for given in tensors(args):
                self._kept(given, result)

    def forget(self, written: Any) -> None:
        """Something else is in these tensors now."""
        for tensor in tensors(written):
            if tensor.layout is torch.strided:
                key = storage_key(tensor.untyped_storage())
                self._labels.pop(key, None)
                self._wholes.pop(key, None)

    def _label(self, tensor: torch.Tensor) -> _Label:
        if tensor.layout is not torch.strided:
            return None
        storage = tensor.untyped_storage()
        found = self._labels.get(storage_key(storage))
        return found[1] if found is not None and found[0]() is storage else None

    def _keep(self, tensor: torch.Tensor, label: _Label) -> None:
        storage = tensor.untyped_storage()
        self._labels[storage_key(storage)] = (weakref.ref(storage), label)

    def _is_zero(self, tensor: torch.Tensor) -> bool:
        label = self._label(tensor)
        return isinstance(label, Part) and label.whole.num_entries == 0

    def _whole(self, tensor: torch.Tensor) -> Whole:
        """What the entries of a tensor are parts of, the same for each view that shows them all."""
        storage = tensor.untyped_storage()
        key = storage_key(storage)
        known = self._wholes.get(key)
        if known is None or known[0]() is not storage:
            known = self._wholes[key] = (weakref.ref(storage), {})
        dims = zip(tensor.shape, tensor.stride(), strict=True)
        view = (tensor.storage_offset(), tuple(sorted(dim for dim in dims if dim[0] != 1)))
        return known[1].setdefault(view, Whole(tensor.numel()))

    def _equal(self, args: tuple[Any, ...], result: torch.Tensor) -> None:
        source, other = args
        if self._label(source) is not None:
            # A one-hot mask that holds numbers: its entries are where it is 1.
            if self._one(other) == 1:
                self._kept(source, result)
            return
        value = self._one(other)
        if value is not None:
            self._keep(result, Part(self._whole(source), value))
            return
        dim = _compared_along(source, other, result)
        values = self._value_of(other) if dim is not None else None
        if dim is not None and values is not None and len(set(values)) == len(values):
            label = _Classes(self._whole(source), result.stride(dim), len(values))
            self._keep(result, label)

    def _one(self, value: Any) -> Any:
        """A number, or the only value of a tensor where that is known; None otherwise."""
        if not isinstance(value, torch.Tensor):
            return value
        values = self._value_of(value) if value.numel() == 1 else None
        return None if values is None else values[0]

    def _scattered(self, mask: torch.Tensor, args: tuple[Any, ...]) -> None:
        """Zeros that got at most one entry for each index: a one-hot mask."""
        dim, index = args[1], args[2]
        if mask.dim() and mask.is_contiguous():
            whole = Whole(index.numel())
            self._keep(mask, _Classes(whole, mask.stride(dim), mask.shape[dim]))

    def _kept(self, source: torch.Tensor, result: torch.Tensor) -> None:
        """The result has entries only where the source has: no more of them, in each class."""
        label = self._label(source)
        if label is None or result.numel() > source.numel():
            return
        if isinstance(label, _Classes):
            dim = _class_dim(label, source)
            if dim is None:
                label = _class_of(label, source)
            elif result.shape == source.shape:
                label = _Classes(label.whole, result.stride(dim), label.num_classes)
            else:
                return
        if label is not None:
            self._keep(result, label)


def _class_dim(label: _Classes, view: torch.Tensor) -> int | None:
    """The dimension along which a view of a mask goes from class to class."""
    dims = enumerate(zip(view.shape, view.stride(), strict=True))
    return next((n for n, (size, step) in dims if step == label.stride and size > 1), None)


def _class_of(label: _Classes, view: torch.Tensor) -> Part | None:
    """The one class that a view of a mask shows; None where it shows several."""
    if _class_dim(label, view) is not None:
        return None
    number = int(view.storage_offset()) // label.stride % label.num_classes
    return Part(label.whole, number)


def _compared_along(source: torch.Tensor, other: torch.Tensor, result: torch.Tensor) -> int | None:
    """The dimension of a comparison along which only the other tensor changes."""
    if not isinstance(other, torch.Tensor) or result.numel() != source.numel() * other.numel():
        return None
    long = [n for n, size in enumerate(other.shape) if size > 1]
    return long[0] + result.dim() - other.dim() if len(long) == 1 else None
