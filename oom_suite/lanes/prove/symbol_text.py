"""Torch's expressions of sizes as text: the axes' names in Python's notation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sympy.printing.str import StrPrinter  # type: ignore[import-untyped]  # sympy has no types

if TYPE_CHECKING:
    from collections.abc import Callable

    import sympy  # type: ignore[import-untyped]  # sympy has no types


class SymbolPrinter(StrPrinter):  # type: ignore[misc]  # sympy is not annotated
    """Writes torch's expressions in Python's notation.

    Args:
        name: the axis or quantity that a symbol stands for.
    """

    def __init__(self, name: Callable[[sympy.Symbol], str]) -> None:
        """Print the terms in the order that they come in."""
        super().__init__({"order": "none"})
        self._name = name

    def _print_Symbol(self, expr: sympy.Symbol) -> str:  # noqa: N802 - sympy calls printers by these names
        return self._name(expr)

    def _print_Relational(self, expr: Any) -> str:  # noqa: N802 - sympy calls printers by these names
        signs = {"Equality": "==", "Unequality": "!="}
        sign = signs.get(type(expr).__name__, getattr(expr, "rel_op", "?"))
        return f"{self.doprint(expr.lhs)} {sign} {self.doprint(expr.rhs)}"

    def _print_Function(self, expr: Any) -> str:  # noqa: N802 - sympy calls printers by these names
        kind = type(expr).__name__
        sign = _INFIX.get(kind)
        if sign is not None:
            left, right = (self._operand(arg) for arg in expr.args)
            return f"({left}{sign}{right})"
        name = _CALLS.get(kind, kind)
        return f"{name}({', '.join(self.doprint(arg) for arg in expr.args)})"

    def _operand(self, expr: Any) -> str:
        text = str(self.doprint(expr))
        return text if expr.is_Atom else f"({text})"


for _kind in ("Max", "Min", "FloorDiv", "Mod", "CleanDiv", "PythonMod", "IntTrueDiv"):
    # Their own classes know how to print themselves, in other words than ours.
    setattr(SymbolPrinter, f"_print_{_kind}", SymbolPrinter._print_Function)  # noqa: SLF001 - torch has no public name for it

_INFIX = {
    "FloorDiv": "//",
    "CleanDiv": "//",
    "Mod": " % ",
    "PythonMod": " % ",
    "IntTrueDiv": "/",
    "FloatTrueDiv": "/",
    "PowByNatural": "**",
    "LShift": "<<",
    "RShift": ">>",
    "BitwiseFn_bitwise_or": " | ",
    "BitwiseFn_bitwise_and": " & ",
    "BitwiseFn_bitwise_xor": " ^ ",
}
_CALLS = {
    "Max": "max",
    "Min": "min",
    "CeilToInt": "ceil",
    "FloorToInt": "floor",
}
