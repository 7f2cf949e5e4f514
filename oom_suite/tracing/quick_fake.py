"""A fake tensor mode that knows again what an operator gave before, in less time than torch.

torch remembers the results of operators on fake tensors, too; but its key takes every tensor
apart in Python, for symbols, sparse layouts and subclasses. What the code under test does almost
always has none of these: plain strided tensors of known sizes. Those are looked up here, and
all else is left to torch. `benchmarks/bench_fakes.py` has the ratio.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from oom_suite.operators.operands import has_tensors, operator, tensors
from oom_suite.torch_compat.dispatch import (
    COMPOSED_IMPLICITLY,
    has_kernel,
    storage_key,
)
from oom_suite.torch_compat.fakes import (
    FakeTensor,
    device_of,
    is_made_by,
    literal_of,
    new_fake,
)
from oom_suite.tracing.fake_mode import LaneFakeMode

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from oom_suite.torch_compat.dispatch import OpOverload

_OF_TORCH = (torch.dtype, torch.layout, torch.memory_format, torch.device)
_SCALARS = frozenset({int, float, bool, str, type(None), *_OF_TORCH})

_UNSURE = frozenset(
    {
        *("aten::lift", "aten::lift_fresh", "aten::lift_fresh_copy", "aten::set_"),
        # How these lie depends on the target.
        *("aten::_grouped_mm", "aten::convolution", "aten::convolution_backward"),
    }
)
_UNSURE_TAGS = frozenset({torch.Tag.data_dependent_output, torch.Tag.inplace_view})
_INDEX = "aten::index"


class _Call(NamedTuple):
    """All that the results of a plain call depend on; the key by which it is known again.

    Each field of it, and of the tuples that `operands` has, is held by a pair of calls in
    `tests/unit/tracing/test_quick_fake_key.py` that differ in nothing else.
    """

    func: OpOverload
    default_dtype: torch.dtype
    is_inference: bool
    operands: tuple[_Tensor | _Scalar | _Sequence | _Keyword, ...]


class _Tensor(NamedTuple):
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    storage_bytes: int
    dtype: torch.dtype
    device: torch.device
    is_inference: bool


class _Scalar(NamedTuple):
    """A number, or what else is neither tensor nor sequence.

    1, 1.0 and True are equal, and give results of different types.
    """

    kind: type
    value: Any


class _Sequence(NamedTuple):
    """A list or tuple, whose items follow."""

    length: int


class _Keyword(NamedTuple):
    """An argument given by name, which follows."""

    name: str


class _Made(NamedTuple):
    """A result: a new tensor, a view of an argument, or an argument itself."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    device: torch.device
    argument: int | None
    is_argument: bool


class _Results(NamedTuple):
    """All results of a call; `pack` is None where the call gives one tensor and no sequence."""

    made: tuple[_Made, ...]
    pack: Callable[[list[FakeTensor]], Any] | None


class _Unknown(Exception):
    """A call or a result that is not plain."""


_known: dict[Hashable, _Results | None] = {}
"""What calls gave, of the whole process as torch's own are; None for what is left to torch."""


class QuickFakeMode(LaneFakeMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """`LaneFakeMode` without symbols that remembers what plain calls gave.

    Every result is as torch's own would be: size, stride, offset, dtype, device, and whose
    storage it shares.

    Source: PyTorch 2.13 ``torch/_subclasses/fake_tensor.py``, ``_cached_dispatch_impl``, for what
    a result depends on and for how one is made again.
    """

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The fake result of an operator on fakes."""
        kwargs = kwargs or {}
        if (entered := self.elsewhere()) is not None:
            with entered:
                return func(*args, **kwargs)
        key = self._key(func, args, kwargs)
        found = None if key is None else _known.get(key)
        if found is None:
            result = super().__torch_dispatch__(func, types, args, kwargs)
            if key is not None and key not in _known:
                _known[key] = self._learned(func, args, result)
            return result
        made = [self._again(one, args) for one in found.made]
        return made[0] if found.pack is None else found.pack(made)

    def _key(self, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Hashable:
        """All that a plain result depends on; None where the call is not plain."""
        if not _is_sure(func) or (kwargs and has_tensors(kwargs)):
            return None
        if operator(func).family == _INDEX and any(map(_is_mask, args[1])):
            return None
        operands: list[_Tensor | _Scalar | _Sequence | _Keyword] = []
        try:
            self._add(operands, args)
            for name, value in kwargs.items():
                operands.append(_Keyword(name))
                self._add(operands, (value,))
        except _Unknown:
            return None
        return _Call(
            func, torch.get_default_dtype(), torch.is_inference_mode_enabled(), tuple(operands)
        )

    def _add(
        self, operands: list[_Tensor | _Scalar | _Sequence | _Keyword], values: Sequence[Any]
    ) -> None:
        for value in values:
            kind = type(value)
            if kind is FakeTensor:
                operands.append(self._tensor(value))
            elif kind in _SCALARS:
                operands.append(_Scalar(kind, value))
            elif kind is list or kind is tuple:
                operands.append(_Sequence(len(value)))
                self._add(operands, value)
            else:
                raise _Unknown

    def _tensor(self, tensor: FakeTensor) -> _Tensor:
        if not self._is_plain(tensor):
            raise _Unknown
        return _Tensor(
            tensor.shape,
            tensor.stride(),
            int(tensor.storage_offset()),
            tensor.untyped_storage().nbytes(),
            tensor.dtype,
            device_of(tensor),
            tensor.is_inference(),
        )

    def _is_plain(self, tensor: FakeTensor) -> bool:
        return (
            is_made_by(tensor, self)
            and literal_of(tensor) is None
            and tensor.layout is torch.strided
            and not tensor.is_quantized
            and not tensor.is_conj()
            and not tensor.is_neg()
        )

    def _learned(self, func: OpOverload, args: Sequence[Any], result: Any) -> _Results | None:
        """What is to be made where the same call comes again; None where that is not plain."""
        is_one = isinstance(result, torch.Tensor)
        results = [result] if is_one else result
        if not (is_one or type(result) in {tuple, list}):
            return None
        try:
            made = tuple(self._made(func, args, one) for one in results)
        except _Unknown:
            return None
        return _Results(made, None if is_one else type(result))

    def _made(self, func: OpOverload, args: Sequence[Any], result: Any) -> _Made:
        """How one result is made; raises `_Unknown` where it is not plain."""
        if type(result) is not FakeTensor or not self._is_plain(result):
            raise _Unknown
        storage = result.untyped_storage()
        sharing = [
            position
            for position, value in enumerate(args)
            if any(_share(leaf, storage) for leaf in tensors(value))
        ]
        argument = sharing[0] if sharing else None
        is_argument = argument is not None and args[argument] is result
        is_view = argument is not None and not is_argument
        is_of_mode = result.is_inference() == torch.is_inference_mode_enabled()
        if not is_argument and (result.requires_grad or not is_of_mode):
            raise _Unknown
        if is_view and not (_is_view(func) and isinstance(args[argument or 0], FakeTensor)):
            raise _Unknown
        made = _Made(
            size=tuple(result.shape),
            stride=result.stride(),
            offset=int(result.storage_offset()),
            dtype=result.dtype,
            device=device_of(result),
            argument=argument,
            is_argument=is_argument,
        )
        end = _end(made)
        # To view what lies beyond a storage would make that larger; torch's fakes let it be.
        if end > storage.nbytes() or (argument is None and (made.offset or end < storage.nbytes())):
            raise _Unknown
        return made

    def _again(self, made: _Made, args: Sequence[Any]) -> FakeTensor:
        if made.is_argument:
            return args[made.argument]  # type: ignore[no-any-return,index]  # a fake: `_made` looked
        empty = torch.empty_strided(made.size, made.stride, dtype=made.dtype, device="meta")
        if made.argument is not None:
            storage = args[made.argument].untyped_storage()
            empty.set_(storage, made.offset, made.size, made.stride)
        return new_fake(empty, made.device, self)


@functools.cache
def _is_sure(func: OpOverload) -> bool:
    """Whether the kind and the sizes of an operator's arguments decide those of its results."""
    if getattr(func, "namespace", "") != "aten":
        return False
    facts = operator(func)
    tags = set(func.tags)
    if torch.Tag.dynamic_output_shape in tags and facts.family != _INDEX:
        return False
    if facts.family in _UNSURE or tags & _UNSURE_TAGS or "resize" in facts.family:
        return False
    # What is made of other operators may give a view of its argument or a copy.
    return not (facts.returns_alias and not facts.is_mutable) or _is_view(func)


@functools.cache
def _is_view(func: OpOverload) -> bool:
    return bool(func.is_view) and not has_kernel(operator(func).name, COMPOSED_IMPLICITLY)


def _is_mask(index: torch.Tensor | None) -> bool:
    """Whether an index chooses by its values, so that they decide how many are chosen."""
    return index is not None and index.dtype in {torch.bool, torch.int8, torch.uint8}


def _share(tensor: torch.Tensor, storage: torch.UntypedStorage) -> bool:
    return storage_key(tensor.untyped_storage()) == storage_key(storage)


def _end(made: _Made) -> int:
    """The byte behind the last of a tensor in its storage."""
    last = sum((size - 1) * step for size, step in zip(made.size, made.stride, strict=True))
    return 0 if 0 in made.size else (made.offset + last + 1) * made.dtype.itemsize
