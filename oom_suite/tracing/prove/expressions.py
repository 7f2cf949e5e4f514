"""What the symbols lack: powers of two, whole numbers, and text of a formula."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, NoReturn
from unittest import mock

import torch
from sympy.printing.str import StrPrinter  # type: ignore[import-untyped]  # sympy has no types

from oom_suite.errors import LaneError
from oom_suite.torch_compat.symbols import as_number, hint_of, int_conversion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    import sympy  # type: ignore[import-untyped]  # sympy has no types

    from oom_suite.tracing.prove.symbols import Symbols


_NAME = "next_power_of_2"
_OWNERS = ("triton", "triton.runtime", "vllm.triton_utils")


@contextlib.contextmanager
def symbolic_powers(symbols: Symbols) -> Iterator[None]:
    """While active, Triton's ``next_power_of_2`` of a symbolic size is a size with that name."""
    with contextlib.ExitStack() as patches:
        for name in _OWNERS:
            module = sys.modules.get(name)
            for owner in (module, getattr(module, "triton", None)):
                original = getattr(owner, _NAME, None)
                if callable(original):
                    kept = _kept(original, symbols)
                    patches.enter_context(mock.patch.object(owner, _NAME, kept))
        yield


def _kept(original: Callable[[Any], Any], symbols: Symbols) -> Callable[[Any], Any]:
    def next_power_of_2(number: Any) -> Any:
        hint = hint_of(number) if isinstance(number, torch.SymInt) else None
        if hint is None:
            return original(number)
        return symbols.function_of(_NAME, number, original(hint))

    return next_power_of_2


_INT = "int"


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

    def to_int(size: torch.SymInt) -> int:
        caller = sys._getframe(1)
        names = caller.f_globals
        if id(names) in modules or _INT in names or not is_under_test(caller):
            return as_number(size)
        modules[id(names)] = names
        _again()

    for names in modules.values():
        names[_INT] = _Int
    try:
        with int_conversion(to_int):
            yield
    finally:
        for names in modules.values():
            names.pop(_INT, None)


def _again() -> NoReturn:
    raise AgainError


def rounded_up(expression: sympy.Expr) -> sympy.Expr:
    """The same expression with ``-(x // -64)`` and ``-(-x // 64)`` written ``(x + 63) // 64``.

    A name in a law is taken for a number that is not negative, which ``x // -64`` and ``-x // 64``
    are.
    """

    def is_by_negative(part: sympy.Basic) -> bool:
        return type(part).__name__ == "FloorDiv" and bool(part.args[1].is_negative)

    def upwards(part: sympy.Basic) -> sympy.Expr:
        number, by = part.args
        return -part.func(number - by - 1, -by)

    def is_of_negative(part: sympy.Basic) -> bool:
        is_quotient = type(part).__name__ == "FloorDiv" and bool(part.args[1].is_positive)
        return is_quotient and bool(part.args[0].could_extract_minus_sign())

    def turned(part: sympy.Basic) -> sympy.Expr:
        number, by = part.args
        return -part.func(by - number - 1, by)

    return expression.replace(is_by_negative, upwards).replace(is_of_negative, turned)


class SymbolPrinter(StrPrinter):  # type: ignore[misc]  # sympy is not annotated
    """Writes torch's expressions in Python's notation.

    Args:
        name: the axis or quantity that a symbol stands for.
    """

    def __init__(self, name: Callable[[sympy.Symbol], str]) -> None:
        """Print the terms in the order that they come in."""
        super().__init__({"order": "none"})
        self._name = name

    def _print_Symbol(self, expr: sympy.Symbol) -> str:
        return self._name(expr)

    def _print_Relational(self, expr: Any) -> str:
        signs = {"Equality": "==", "Unequality": "!="}
        sign = signs.get(type(expr).__name__, getattr(expr, "rel_op", "?"))
        return f"{self.doprint(expr.lhs)} {sign} {self.doprint(expr.rhs)}"

    def _print_Function(self, expr: Any) -> str:
        kind = type(expr).__name__
        sign = _INFIX.get(kind)
        if sign is not None:
            left, right = (self._operand(arg) for arg in expr.args)
            return f"({left}{sign}{right})"
        if kind not in _CALLS:
            # A formula that cannot be evaluated would decide nothing, and its law hold anywhere.
            raise LaneError(f"the code asks for {kind} of its sizes, which no formula here has")
        name = _CALLS[kind]
        return f"{name}({', '.join(self.doprint(arg) for arg in expr.args)})"

    def _operand(self, expr: Any) -> str:
        text = str(self.doprint(expr))
        return text if expr.is_Atom else f"({text})"


for _kind in ("Max", "Min"):
    # sympy knows how to print them, in other words than ours.
    setattr(SymbolPrinter, f"_print_{_kind}", SymbolPrinter._print_Function)

_INFIX = {
    "FloorDiv": "//",
    "CleanDiv": "//",
    "Mod": " % ",
    "PythonMod": " % ",
    "IntTrueDiv": "/",
    "FloatTrueDiv": "/",
    "FloatPow": "**",
    "PowByNatural": "**",
    "BitwiseFn_bitwise_or": " | ",
    "BitwiseFn_bitwise_and": " & ",
    "BitwiseFn_bitwise_xor": " ^ ",
}
_CALLS = {
    "Max": "max",
    "Min": "min",
    "CeilToInt": "ceil",
    "FloorToInt": "floor",
    "ToFloat": "float",
    "TruncToInt": "trunc",
    "RoundToInt": "round",
    "Abs": "abs",
    "next_power_of_2": "next_power_of_2",
}
"""What a formula calls torch's functions of sizes; `oom_suite.records.symbolic` evaluates them."""
