"""What dispatch hands to a mode: the tensors of a call, and the fixed facts of its operator."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.torch_compat.dispatch import has_kernel, is_composed, schema_of, storage_key
from oom_suite.torch_compat.fakes import FakeTensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from oom_suite.torch_compat.dispatch import OpOverload

DEVICE_QUERY = torch.ops.prim.device.default
"""What ``tensor.device`` becomes on a fake tensor: an operator call that makes nothing."""


_PASSING = frozenset({"aten::_to_copy", "aten::lift", "aten::_reshape_alias"})


@dataclass(frozen=True, slots=True)
class Operator:
    """What an operator's schema says, read once: a run asks it thousands of times.

    Attributes:
        name: with its overload, as in ``aten::add.Tensor``.
        family: without its overload.
        is_mutable: whether it writes to an argument.
        returns_alias: whether a result may share an argument's storage.
        may_return_argument: whether a result may be an argument though the schema does not say:
            what is not torch's own does so.
        written: positions and names of the arguments that it writes to.
    """

    name: str
    family: str
    is_mutable: bool
    returns_alias: bool
    may_return_argument: bool
    written: tuple[tuple[int, str], ...]


@functools.cache
def operator(func: OpOverload) -> Operator:
    """The facts of an operator."""
    schema = schema_of(func)
    overload = f".{schema.overload_name}" if schema.overload_name else ""
    return Operator(
        name=schema.name + overload,
        family=schema.name,
        is_mutable=schema.is_mutable,
        returns_alias=any(returned.alias_info is not None for returned in schema.returns),
        may_return_argument=not schema.name.startswith("aten::") or schema.name in _PASSING,
        written=tuple(
            (position, argument.name)
            for position, argument in enumerate(schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ),
    )


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in a value: itself, or inside tuples, lists and the values of a dict."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)


def has_tensors(value: Any) -> bool:
    """Whether `tensors` finds any in a value."""
    return next(tensors(value), None) is not None


def with_tensors(change: Callable[[torch.Tensor], Any], value: Any) -> Any:
    """The same value with every tensor that `tensors` finds in it changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        changed = [with_tensors(change, item) for item in value]
        return tuple(changed) if isinstance(value, tuple) else changed
    if isinstance(value, dict):
        return {name: with_tensors(change, item) for name, item in value.items()}
    return value


def written_tensors(
    facts: Operator, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Iterator[torch.Tensor]:
    """Every tensor that a call of this operator writes to."""
    for position, name in facts.written:
        if name in kwargs:
            yield from tensors(kwargs[name])
        elif position < len(args):
            yield from tensors(args[position])


def is_of_argument(storage: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a storage is one of the arguments' own."""
    key = storage_key(storage)
    return any(
        storage_key(tensor.untyped_storage()) == key
        for tensor in tensors((args, kwargs))
        if tensor.layout is torch.strided
    )


def is_foreign(types: Sequence[type]) -> bool:
    """Whether a call has tensor subclasses that must first take themselves apart."""
    plain = {torch.Tensor, torch.nn.Parameter}
    return any(kind not in plain and not issubclass(kind, FakeTensor) for kind in types)


def is_composed_of(func: OpOverload, args: Sequence[Any]) -> bool:
    """Whether an operator is made of others on the device of its arguments.

    A build of torch for GPUs has one kernel for ``_fused_rms_norm`` there, and composes it on a
    CPU. Fakes have no kernel: what is predicted is the same whichever build predicts it.
    """
    if not is_composed(func):
        return False
    return not (_has_gpu_kernel(func) and any(_is_on_gpu(each) for each in tensors(args)))


@functools.cache
def _has_gpu_kernel(func: OpOverload) -> bool:
    return has_kernel(func.name(), "CUDA")  # type: ignore[no-untyped-call]  # torch does not annotate it


def _is_on_gpu(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cuda" and not isinstance(tensor, FakeTensor)
