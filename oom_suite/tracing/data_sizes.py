"""Results whose size is decided by values that nobody knows here: the worst case in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import LaneError
from oom_suite.operators.operands import operator, tensors
from oom_suite.records import DataSize
from oom_suite.torch_compat.fakes import device_of
from oom_suite.tracing.lane_spec import EACH, HALF, NONE, ONE
from oom_suite.tracing.positions import argument
from oom_suite.tracing.real_values import holds_index_data

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from oom_suite.records import Frame
    from oom_suite.torch_compat.dispatch import OpOverload
    from oom_suite.tracing.index_ranges import IndexRanges
    from oom_suite.tracing.splits import Part, Splits, Whole

    Args = tuple[Any, ...]
    Keywords = Mapping[str, Any]

_KEEP_EVERY_ENTRY = {
    "cpu": frozenset({"aten::unique_consecutive"}),
    "cuda": frozenset({"aten::_unique", "aten::_unique2"}),
}
"""Operators whose first result keeps the storage of everything that was looked through.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/Unique.cu``: what was sorted is resized;
``native/Unique.cpp``, ``unique_consecutive_cpu_template``: values and counts are, both;
``_unique_dim_cpu_template``: the counts are, of slices.
"""

_COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})
_MASKS = frozenset({torch.bool, torch.uint8})


def keeps_every_entry(family: str, device_type: str) -> bool:
    """Whether an operator's first result has the storage of every entry, looking at no slices."""
    return family in _KEEP_EVERY_ENTRY.get(device_type, frozenset())


def is_sized(family: str) -> bool:
    """Whether `DataSizes` makes an operator's result, also where torch has no fake kernel for it.

    torch 2.11 has none for ``_unique``, which ``isin`` calls for many entries.
    """
    return family in _MAKERS


def stored_entries(func: OpOverload, args: Args, kwargs: Keywords) -> tuple[int, int, int]:
    """How many entries the storages of its results have, where more than the results themselves."""
    source, family = args[0], operator(func).family
    dim, is_cpu = argument(func, "dim", args, kwargs), device_of(source).type == "cpu"
    if dim is not None:
        return 0, 0, source.shape[dim] if is_cpu else 0
    if not keeps_every_entry(family, device_of(source).type):
        return 0, 0, 0
    has_counts = "consecutive" in family and argument(func, "return_counts", args, kwargs)
    return source.numel(), 0, source.numel() if has_counts else 0


class DataSizes:
    """Makes results of the size that data may give them at most, or of a smaller one."""

    def __init__(
        self, ranges: IndexRanges, splits: Splits, stack: Callable[[], tuple[Frame, ...]]
    ) -> None:
        self._ranges = ranges
        self._splits = splits
        self._stack = stack
        self._given: dict[Whole, dict[Hashable, int]] = {}

    def begin(self, choice: str) -> None:
        """Start a call.

        Args:
            choice: one of those of `oom_suite.tracing.lane_spec`. Which part comes at a
                number is known from the call before, which was of the same sizes.
        """
        before, number = self._given.values(), _number_of(choice)
        self._planned = [] if number is None else [_from_part(number, given) for given in before]
        self._choice = choice
        self._noted: dict[tuple[str, tuple[Frame, ...]], DataSize] = {}
        self._given = {}

    @property
    def noted(self) -> tuple[DataSize, ...]:
        """What data decided since `begin`, once for each line."""
        return tuple(self._noted.values())

    def result(self, func: OpOverload, args: Args, kwargs: Keywords) -> Any:
        """What the operator gives, of a size that data may give it.

        Raises:
            LaneError: nothing bounds the size; the message lacks the line.
        """
        family = operator(func).family
        make = _MAKERS.get(family)
        if make is None or operator(func).is_mutable:
            raise LaneError(f"{family} has a result that depends on")
        return make(self, func, args, kwargs)

    def _count(self, op: str, most: int, part: Part | None = None, least: int = 0) -> int:
        """How many of at most so many there are, by the choice; that data decides it is noted."""
        limit = min(most, part.whole.num_entries) if part is not None else most
        given = self._given.get(part.whole, {}) if part is not None else {}
        num_parts = len(given.keys() | {part.name}) if part is not None else 1
        key = (op, self._stack())
        before = self._noted.get(key)
        self._noted[key] = DataSize(
            *key,
            at_most=max(limit, before.at_most if before else 0),
            num_parts=max(num_parts, before.num_parts if before else 1),
        )
        if part is None:
            return max(min(least, limit), _chosen(self._choice, limit))
        return self._share(part, limit)

    def _share(self, part: Part, limit: int) -> int:
        given = self._given.setdefault(part.whole, {})
        if part.name not in given:
            number = list(self._given).index(part.whole)
            left = part.whole.num_entries - sum(given.values())
            count = _chosen(self._choice, limit)
            if self._choice != EACH:
                count = min(count, left)
            if number < len(self._planned):
                count = min(limit, self._planned[number].get(part.name, 0))
            given[part.name] = count
        return min(limit, given[part.name])

    def _nonzero(self, _func: OpOverload, args: Args, _kwargs: Keywords) -> torch.Tensor:
        return self._true_entries(args[0])

    def _true_entries(self, mask: torch.Tensor) -> torch.Tensor:
        count = self._count("aten::nonzero", mask.numel(), self._splits.part(mask))
        return torch.empty_strided(
            (count, mask.dim()), (1, count), dtype=torch.int64, device=device_of(mask)
        )

    def _masked_select(self, _func: OpOverload, args: Args, _kwargs: Keywords) -> torch.Tensor:
        source: torch.Tensor = args[0]
        _, mask = torch.broadcast_tensors(source, args[1])  # type: ignore[no-untyped-call]  # torch does not annotate it
        count = self._count("aten::masked_select", mask.numel(), self._splits.part(mask))
        return source.new_empty((count,))

    def _index(self, func: OpOverload, args: Args, kwargs: Keywords) -> Any:
        positions: list[torch.Tensor | None] = []
        for index in args[1]:
            if index is None or index.dtype not in _MASKS:
                positions.append(index)
            else:
                positions += self._true_entries(index).unbind(1)
        return func(args[0], positions, *args[2:], **kwargs)

    def _unique(self, func: OpOverload, args: Args, kwargs: Keywords) -> tuple[torch.Tensor, ...]:
        given = _Unique(func, args, kwargs)
        source, family = args[0], operator(func).family
        num_entries = source.numel() if given.dim is None else source.shape[given.dim]
        found = self._ranges.of(source) if given.dim is None else None
        most = num_entries
        if found is not None and found.low.is_Integer and found.high.is_Integer:
            most = min(most, max(0, int(found.high - found.low) + 1))
        if "consecutive" in family:
            most = num_entries
        count = self._count(family, most, least=min(1, num_entries))
        stored = stored_entries(func, args, kwargs)
        if stored[0]:
            values = source.new_empty((num_entries,))[:count]
        elif given.dim is None:
            values = source.new_empty((count,))
        else:
            shape = list(source.shape)
            shape[given.dim] = count
            values = source.new_empty(shape)
        # Source: PyTorch 2.13 torch/_subclasses/fake_impls.py, _unique: on a CPU all are made.
        is_whole = given.dim is not None and device_of(source).type == "cpu"
        inverse_shape = source.shape if given.dim is None else (num_entries,)
        inverse = source.new_empty(
            inverse_shape if given.inverse or is_whole else (0,), dtype=torch.int64
        )
        num_counts = count if given.counts or is_whole else 0
        counts = source.new_empty((stored[2] or num_counts,), dtype=torch.int64)[:num_counts]
        pair = (values, inverse)
        return pair if family == "aten::_unique" else (*pair, counts)

    def _bincount(self, func: OpOverload, args: Args, kwargs: Keywords) -> torch.Tensor:
        weights = argument(func, "weights", args, kwargs)
        least: int = argument(func, "minlength", args, kwargs)
        highest = self._highest(args[0])
        if highest is None:
            raise LaneError(
                "aten::bincount has as many bins as the largest of its values says, and nothing "
                "bounds those (clamp them, or draw them from a range): they are"
            )
        most = max(least, highest + 1)
        count = least if most == least else self._count("aten::bincount", most, least=least)
        dtype = torch.int64
        if weights is not None:
            dtype = torch.float32 if weights.dtype is torch.float32 else torch.float64
        values: torch.Tensor = args[0]
        return values.new_empty((count,), dtype=dtype)

    def _repeat_interleave(self, _func: OpOverload, args: Args, _kwargs: Keywords) -> torch.Tensor:
        repeats: torch.Tensor = args[0]
        highest = self._highest(repeats)
        if highest is None:
            raise LaneError(
                "aten::repeat_interleave has as many results as its repeats say, and nothing "
                "bounds those (give output_size, or clamp them): they are"
            )
        count = self._count("aten::repeat_interleave", repeats.numel() * highest)
        return repeats.new_empty((count,))

    def _highest(self, tensor: torch.Tensor) -> int | None:
        """The largest value that a tensor of whole numbers may have; None where nobody knows."""
        found = self._ranges.of(tensor)
        return int(found.high) if found is not None and found.high.is_Integer else None


class _Unique:
    """What an operator of the family of ``unique`` was asked for."""

    def __init__(self, func: OpOverload, args: Args, kwargs: Keywords) -> None:
        self.dim: int | None = argument(func, "dim", args, kwargs)
        self.inverse = bool(argument(func, "return_inverse", args, kwargs))
        self.counts = bool(argument(func, "return_counts", args, kwargs))


def compared(family: str, ranges: IndexRanges, args: Args) -> bool | None:
    """What a comparison gives everywhere, where the ranges alone say so; None where they do not."""
    name = family.removeprefix("aten::")
    if name not in _COMPARISONS or len(args) != 2:
        return None
    if not all(map(holds_index_data, tensors(args))):
        return None
    left, right = map(ranges.of, args)
    if left is None or right is None:
        return None
    is_less, is_more = bool(left.high < right.low), bool(left.low > right.high)
    is_no_more, is_no_less = bool(left.high <= right.low), bool(left.low >= right.high)
    always, never = {
        "eq": (False, is_less or is_more),
        "ne": (is_less or is_more, False),
        "lt": (is_less, is_no_less),
        "le": (is_no_more, is_more),
        "gt": (is_more, is_no_more),
        "ge": (is_no_less, is_less),
    }[name]
    return always if always or never else None


def _chosen(choice: str, most: int) -> int:
    return {HALF: most // 2, ONE: min(1, most), NONE: 0}.get(choice, most)


def _number_of(choice: str) -> int | None:
    word, _, number = choice.partition(" ")
    return int(number) if word == "part" else None


def _from_part(number: int, given: Mapping[Hashable, int]) -> dict[Hashable, int]:
    """The same entries, given to the part of a number and to those after it, in a circle."""
    names = list(given)
    start = min(number, len(names) - 1)
    return dict(zip([*names[start:], *names[:start]], given.values(), strict=True))


_MAKERS: dict[str, Callable[[DataSizes, OpOverload, Args, Keywords], Any]] = {
    "aten::nonzero": DataSizes._nonzero,
    "aten::masked_select": DataSizes._masked_select,
    "aten::index": DataSizes._index,
    "aten::_unique": DataSizes._unique,
    "aten::_unique2": DataSizes._unique,
    "aten::unique_consecutive": DataSizes._unique,
    "aten::unique_dim": DataSizes._unique,
    "aten::unique_dim_consecutive": DataSizes._unique,
    "aten::bincount": DataSizes._bincount,
    "aten::repeat_interleave": DataSizes._repeat_interleave,
}
