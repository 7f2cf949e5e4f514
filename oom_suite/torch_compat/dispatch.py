"""Operators, dispatch modes, and which storage a tensor has."""

from __future__ import annotations

import functools
from collections import deque
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.torch_compat.per_thread import PerThread
from oom_suite.torch_compat.probes import Name, needed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

NAMES = (
    Name("torch._ops:OpOverload"),
    Name("torch._ops:OpOverloadPacket"),
    Name("torch:ops.aten.add.overloads", positional=0),
    Name("torch:ops.aten.add.Tensor._schema"),
    Name("torch:ops.aten.add.Tensor._schema.arguments"),
    Name("torch:ops.aten.add.Tensor._schema.returns"),
    Name("torch:ops.aten.add.Tensor._op_dk", positional=3),
    Name("torch:ops.aten.add.Tensor.is_view"),
    Name("torch:ops.aten.add.Tensor.name", positional=0),
    Name("torch:ops.aten.add.Tensor.namespace"),
    Name("torch:ops.aten.add.Tensor.tags"),
    Name("torch:Tag.inplace_view"),
    Name("torch:Tag.pointwise"),
    Name("torch._C:_dispatch_get_all_op_names", positional=0),
    Name("torch._C:_dispatch_has_kernel", positional=1),
    Name("torch._C:_dispatch_has_kernel_for_dispatch_key", positional=2),
    Name("torch._C:DispatchKey.CompositeExplicitAutograd"),
    Name("torch._C:DispatchKey.CompositeExplicitAutogradNonFunctional"),
    Name("torch._C:DispatchKey.CompositeImplicitAutograd"),
    Name("torch._library.custom_ops:CustomOpDef._abstract_fn"),
    Name("torch._library.custom_ops:CustomOpDef._init_fn"),
    Name("torch._library.custom_ops:CustomOpDef._qualname"),
    Name("torch._library.custom_ops:OPDEFS"),
    Name("torch.utils._mode_utils:no_dispatch", positional=0),
    Name("torch.utils._python_dispatch:TorchDispatchMode", positional=0),
    Name("torch.utils._python_dispatch:TorchDispatchMode._should_skip_dynamo", positional=0),
    Name("torch:UntypedStorage._cdata"),
)
"""The names of torch behind this module."""

with needed("every lane needs", NAMES):
    from torch._library.custom_ops import OPDEFS, CustomOpDef
    from torch._ops import OpOverload, OpOverloadPacket
    from torch.utils._mode_utils import no_dispatch
    from torch.utils._python_dispatch import TorchDispatchMode

__all__ = [
    "COMPOSED",
    "COMPOSED_IMPLICITLY",
    "DispatchMode",
    "OpOverload",
    "every_operator",
    "family_of",
    "has_kernel",
    "has_operator",
    "is_composed",
    "is_elementwise",
    "is_view",
    "no_dispatch",
    "run_kernel",
    "schema_of",
    "storage_key",
    "taken_apart",
    "visible_body",
]

COMPOSED = ("CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional")
"""Kernels that are made of other operators, for every device."""

COMPOSED_IMPLICITLY = "CompositeImplicitAutograd"
"""A kernel that is made of other operators, gradients among them."""

WITH_GRADIENT = "Autograd"
"""The kernel of an operator that has one for a device, and a gradient of its own beside it."""


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """A dispatch mode that leaves torch's compiler alone, and that several threads may enter.

    Source: PyTorch 2.13 ``torch/utils/_python_dispatch.py``, ``__init_subclass__``, ``__enter__``.
    """

    old_dispatch_mode_flags = PerThread(deque)
    old_non_infra_dispatch_mode_flags = PerThread(deque)
    old_without_ignore_compile_internals_dispatch_mode_flags = PerThread(deque)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from importing its compiler (a second of start-up) to wrap each call."""
        return False


def schema_of(func: OpOverload) -> torch.FunctionSchema:
    """What an operator takes, gives and writes to."""
    return func._schema


@functools.cache
def is_composed(func: OpOverload) -> bool:
    """Whether an operator is made of others on a CPU, so that dispatch may never see it.

    Where gradients are possible, torch takes such operators apart above dispatch. In inference
    mode they arrive whole, and with them the temporaries of their parts would be hidden: a
    ``reshape`` that copies, the log-softmax of a loss.
    """
    name: str = func.name()  # type: ignore[no-untyped-call]  # torch does not annotate it
    own = any(has_kernel(name, key) for key in ("CPU", COMPOSED[0]))
    return has_kernel(name, COMPOSED_IMPLICITLY) and not own


def taken_apart(
    mode: DispatchMode, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """The result of an operator that `is_composed`, whose parts come back to the mode."""
    with mode:
        return run_kernel(func, COMPOSED_IMPLICITLY, args, kwargs)


def is_view(func: OpOverload) -> bool:
    """Whether an operator gives another view of its argument, or changes the argument's own."""
    return func.is_view or torch.Tag.inplace_view in func.tags


@functools.cache
def is_elementwise(name: str) -> bool:
    """Whether torch tags some overload of its operator of that name as one over the elements."""
    packet = getattr(torch.ops.aten, name, None)
    overloads = () if packet is None else packet.overloads()
    return any(torch.Tag.pointwise in getattr(packet, each).tags for each in overloads)


def has_operator(name: str) -> bool:
    """Whether this torch has an operator, named with its overload where it has one."""
    return name in torch._C._dispatch_get_all_op_names()


def every_operator(namespace: str) -> Iterator[OpOverload]:
    """Every overload that a namespace has, ordered by name; those that torch hides left out."""
    for name in sorted(torch._C._dispatch_get_all_op_names()):
        space, _, rest = name.partition("::")
        base, _, overload = rest.partition(".")
        packet = getattr(getattr(torch.ops, space), base, None) if space == namespace else None
        func = getattr(packet, overload or "default", None)
        if isinstance(func, OpOverload):
            yield func


def visible_body(func: OpOverload) -> Callable[..., Any] | None:
    """The function of a custom operator whose author gave it as the fake kernel, too.

    Such a function is made of visible operators and launches: `torch.library.triton_op` makes
    them. None for all others, whose kernel nobody can look into.
    """
    made = OPDEFS.get(schema_of(func).name)
    if made is None:
        return None
    body = made._init_fn
    return body if made._abstract_fn is body else None


def family_of(op: object) -> str:
    """The name of an operator without its overload; empty where it is none.

    Args:
        op: ``torch.ops.mine.attend``, an overload of it, or what `torch.library.custom_op` gave.
    """
    if isinstance(op, OpOverload):
        return str(schema_of(op).name)
    if isinstance(op, OpOverloadPacket):
        # Written ``aten.add``. Its own name for that is private.
        namespace, _, name = f"{op}".partition(".")
        return f"{namespace}::{name}"
    return op._qualname if isinstance(op, CustomOpDef) else ""


def has_kernel(name: str, key: str) -> bool:
    """Whether an operator has a kernel of its own for a dispatch key.

    TorchScript's own operators, ``aten::size`` without an overload among them, have none for any
    key, and torch raises when it is asked for one.

    Args:
        name: the operator with its overload, as in ``aten::add.Tensor``.
        key: the key's name, as in ``CPU``.
    """
    has_any = torch._C._dispatch_has_kernel(name)
    return has_any and torch._C._dispatch_has_kernel_for_dispatch_key(name, key)


def run_kernel(func: OpOverload, key: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What the operator's kernel for a dispatch key gives; without such a kernel torch crashes."""
    return func._op_dk(getattr(torch._C.DispatchKey, key), *args, **kwargs)


def storage_key(storage: torch.UntypedStorage) -> int:
    """A number that is the same for every view of a storage, and no other's while that lives."""
    key: int = storage._cdata
    return key
