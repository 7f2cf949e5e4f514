"""Parameters and buffers of lazy modules, which get their shape in the first call, as fakes.

torch makes one as a real tensor of its own class and gives it memory in place. A fake cannot
become another class, so here the real one stays until its shape is known, remembers its device,
and is then exchanged for a fake parameter.

Source: PyTorch 2.13 ``torch/nn/parameter.py`` (``UninitializedTensorMixin``),
``torch/utils/__init__.py`` (``swap_tensors``).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch.nn.parameter import Parameter, UninitializedBuffer, UninitializedParameter

from oom_suite.torch_compat.dispatch import no_dispatch
from oom_suite.torch_compat.fakes import FakeTensor
from oom_suite.torch_compat.lazy_parameters import as_plain, make_subclass, parse_to, swap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DEVICE = "device_when_fake"
_MOVES: dict[Any, Callable[[Any, Any], Any]] = {
    torch.Tensor.to: lambda args, kwargs: parse_to(*args, **kwargs)[:2],
    torch.Tensor.cuda: lambda _args, _kwargs: (torch.device("cuda", 0), None),
    torch.Tensor.cpu: lambda _args, _kwargs: (torch.device("cpu"), None),
}
"""How a tensor is moved, and where to and to which type that is."""


@contextlib.contextmanager
def lazy_fakes() -> Iterator[None]:
    """While active, lazy modules that are made where tensors are fake get fake parameters."""
    with contextlib.ExitStack() as undo:
        for kind in (UninitializedParameter, UninitializedBuffer):
            answers = {
                "__new__": _made,
                "materialize": _materialize(kind.materialize),
                "__torch_function__": classmethod(_function(kind.__torch_function__)),
            }
            for name, answer in answers.items():
                undo.enter_context(mock.patch.object(kind, name, answer))
        yield


def _made(
    cls: Any, requires_grad: bool = True, device: Any = None, dtype: Any = None
) -> torch.Tensor:
    """One without a shape."""
    data = torch.empty(0, device=device, dtype=dtype)
    is_fake = isinstance(data, FakeTensor)
    needs = requires_grad and cls is not UninitializedBuffer
    where = data.device
    if is_fake:
        with no_dispatch():
            data = torch.empty(0, device="cpu", dtype=data.dtype)
    made: torch.Tensor = make_subclass(cls, data, needs)
    if is_fake:
        vars(made)[_DEVICE] = where
    return made


def _materialize(itself: Any) -> Any:
    def materialize(lazy: Any, shape: Any, device: Any = None, dtype: Any = None) -> None:
        where = vars(lazy).pop(_DEVICE, None)
        if where is None:
            itself(lazy, shape, device, dtype)
            return
        made = torch.empty(shape, device=device or where, dtype=dtype or lazy.dtype)
        if isinstance(lazy, Parameter):
            made = Parameter(made, lazy.requires_grad)
        with as_plain():
            swap(lazy, made)

    return materialize


def _function(itself: Any) -> Any:
    def function(cls: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del cls
        lazy, kwargs = args[0] if args else None, kwargs or {}
        if not isinstance(lazy, torch.Tensor) or _DEVICE not in vars(lazy):
            return itself(func, types, args, kwargs)
        if func in _MOVES:
            device, dtype = _MOVES[func](args[1:], kwargs)
            vars(lazy)[_DEVICE] = device or vars(lazy)[_DEVICE]
            func, args, kwargs = torch.Tensor.to, (lazy, dtype or lazy.dtype), {}
        with no_dispatch():
            return itself(func, types, args, kwargs)

    return function
