"""Keeps ``int(size)`` symbolic in the code under test, where Python would make it a number.

``int`` of a symbolic size must be an ``int``, so torch puts in the hint and the law speaks of that
one size. Code says it of sizes that are whole already. The first time it does, its module is
given an ``int`` of its own that leaves symbolic sizes as they are, and the run begins again.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, NoReturn
from unittest import mock

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_NAME = "int"


class AgainError(BaseException):
    """The run must begin again: one more module has an ``int`` of its own now."""


class _Type(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, (int, torch.SymInt))

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, (int, torch.SymInt))

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and isinstance(args[0], torch.SymInt):
            return args[0]
        return int(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        return getattr(int, name)


class _Int(metaclass=_Type):
    """``int``, but for symbolic sizes."""


@contextlib.contextmanager
def whole_sizes_stay_symbolic(
    modules: dict[int, dict[str, Any]], is_under_test: Callable[[FrameType], bool]
) -> Iterator[None]:
    """While active, ``int(size)`` in code under test leaves a symbolic size as it is.

    Args:
        modules: globals that have an ``int`` of their own, by identity; more are added.
        is_under_test: whether a frame runs code under test.

    Raises:
        AgainError: one was added; the caller has to begin again.
    """
    original = torch.SymInt.__int__

    def to_int(size: torch.SymInt) -> int:
        caller = sys._getframe(1)  # noqa: SLF001 - the code that said int(size)
        names = caller.f_globals
        if id(names) in modules or _NAME in names or not is_under_test(caller):
            return int(original(size))  # type: ignore[no-untyped-call]  # torch does not annotate it
        modules[id(names)] = names
        _again()

    for names in modules.values():
        names[_NAME] = _Int
    try:
        with mock.patch.object(torch.SymInt, "__int__", to_int):
            yield
    finally:
        for names in modules.values():
            names.pop(_NAME, None)


def _again() -> NoReturn:
    raise AgainError
