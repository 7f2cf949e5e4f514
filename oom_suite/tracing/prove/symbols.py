"""Sizes as symbols that carry the axes' names, and what torch computes with them as records."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import sympy  # type: ignore[import-untyped]  # sympy has no types
import torch

from oom_suite.records import Polynomial
from oom_suite.records.symbolic import Formula, Guard, Hints, Quantity
from oom_suite.torch_compat.symbols import SymbolEnv, expression_of
from oom_suite.tracing.prove.expressions import SymbolPrinter, rounded_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.records import Frame

    Stack = tuple[Frame, ...]


class _Assumed(NamedTuple):
    """A guard on data, which torch does not know of."""

    expr: sympy.Basic


class _Guards(list[Any]):
    """The guards of a `ShapeEnv`, each with the line that was running when it was added."""

    def __init__(self, here: Callable[[], Stack]) -> None:
        super().__init__()
        self._here = here
        self.stacks: list[Stack] = []

    def append(self, guard: Any) -> None:
        super().append(guard)
        self.stacks.append(self._here())


class Symbols:
    """One symbol for each axis, and the way back from torch's expressions to names.

    Args:
        hints: the axes' values, and which of them stay numbers.
        here: reads the stack of the code under test.

    Attributes:
        env: torch's environment of the symbols.
        sizes: what to hand to a builder in place of the sizes.
        fresh: symbols of data-dependent sizes that operators made, until somebody clears it.
        quantities: data-dependent sizes, by symbol.
    """

    def __init__(self, hints: Hints, here: Callable[[], Stack]) -> None:
        self._guards = _Guards(here)
        self.fresh: list[sympy.Symbol] = []
        self.env = SymbolEnv(self._guards, self._ordinarily, self.fresh.append)
        self.quantities: dict[sympy.Symbol, Quantity] = {}
        self.sizes: dict[str, Any] = {}
        self._derived: dict[str, Quantity] = {}
        self._functions: dict[sympy.Symbol, Quantity] = {}
        self._axes: dict[sympy.Symbol, str] = {}
        self._num_required = 0
        self._lower = hints.lower
        self._order = tuple(hints.sizes)
        self._hints = hints.sizes
        for axis, size in hints.sizes.items():
            self.sizes[axis] = size if axis in hints.held else self._symbol(axis, size)
        self._reset_ranges()

    def _symbol(self, axis: str, size: int) -> torch.SymInt:
        symbol = self.env.new_symbol(axis, size)
        self._axes[symbol] = axis
        return self.env.size(symbol, axis, size)

    def function_of(self, function: str, size: torch.SymInt, value: int) -> torch.SymInt:
        """A size that follows from another by a function that is no polynomial.

        Args:
            function: a name in `oom_suite.records.symbolic.FUNCTIONS`.
            size: what it is a function of.
            value: its value at the hints.
        """
        text = f"{function}({self.text(expression_of(size))})"
        known = {quantity.name: symbol for symbol, quantity in self._functions.items()}
        symbol = known.get(text)
        if symbol is None:
            symbol = self.env.new_symbol(text, value)
            self._functions[symbol] = Quantity(text, "a function of the sizes", Formula(text))
            self.env.set_least(symbol, 1)
        return self.env.size(symbol, text, value)

    def _ordinarily(self, condition: sympy.Basic) -> sympy.Basic | None:
        """What ordinary data says of a condition, which becomes a guard; None where unknown."""
        if not isinstance(condition, sympy.logic.boolalg.Boolean):
            return None
        values = {}
        for symbol in condition.free_symbols:
            backed = self.env.value_at_hints(symbol)
            values[symbol] = self._ordinary(symbol) if backed is None else backed
        if None in values.values():
            return None
        answer = condition.subs(values)
        if answer not in {sympy.true, sympy.false}:
            return None
        self._guards.append(_Assumed(condition if answer else sympy.Not(condition)))
        return answer

    def _ordinary(self, symbol: sympy.Symbol) -> int | None:
        """What a data-dependent size would be if it were the least of its bounds.

        A bound may name sizes that were made before, which are at their least bounds too.
        """
        known = self.quantities.get(symbol)
        if known is None or not known.at_most:
            return None
        values: dict[str, int] = dict(self._hints)
        for other, quantity in self.quantities.items():
            if any(quantity.name in bound.names for bound in known.at_most):
                least = self._ordinary(other)
                if least is None:
                    return None
                values[quantity.name] = least
        return int(min(bound(values) for bound in known.at_most))

    def _reset_ranges(self) -> None:
        for symbol, axis in self._axes.items():
            if not self.env.is_replaced(symbol):
                self.env.set_least(symbol, self._lower.get(axis, 1))

    def begin_call(self) -> None:
        """Forget what the builder took for granted: the law must not rest on it unawares.

        What the builder made a number of stays one.
        """
        self._num_required = len(self._guards)
        self._reset_ranges()
        self.env.forget_conditions()

    def expression(self, value: Any) -> sympy.Expr:
        """An integer, symbolic or plain, as torch's mathematics has it. Adds no guard."""
        if isinstance(value, torch.SymInt):
            return expression_of(value)
        return cast("sympy.Expr", sympy.sympify(value))

    def are_same(self, one: Any, other: Any) -> bool:
        """Whether two expressions are one, by all that is known by now. Adds no guard."""
        return bool(one == other or self.env.simplified(one) == self.env.simplified(other))

    def is_axis(self, symbol: sympy.Symbol) -> bool:
        """Whether a symbol is an axis."""
        return symbol in self._axes

    def name(self, symbol: sympy.Symbol) -> str:
        """The axis or quantity that a symbol stands for."""
        if symbol in self._axes:
            return self._axes[symbol]
        known = self.quantities.get(symbol) or self._functions.get(symbol)
        return known.name if known is not None else str(symbol)

    def specialised(self) -> dict[str, tuple[int, Frame | None]]:
        """The axes that became numbers on the way: value, and the line that made them so."""
        found: dict[str, tuple[int, Frame | None]] = {}
        for symbol, axis in self._axes.items():
            now = self.env.simplified(symbol)
            if now.is_number:
                found[axis] = (int(now), self._asked(symbol))
        return found

    def _asked(self, symbol: sympy.Symbol) -> Frame | None:
        for guard, stack in zip(self._guards, self._guards.stacks, strict=True):
            if isinstance(guard.expr, sympy.Eq) and symbol in guard.expr.free_symbols:
                return stack[0] if stack else None
        return None

    def guards(self) -> tuple[tuple[Guard, ...], tuple[Guard, ...]]:
        """What the call took for granted, and what the builder did before it."""
        made: list[dict[str, Guard]] = [{}, {}]
        pairs = zip(self._guards, self._guards.stacks, strict=True)
        for number, (guard, stack) in enumerate(pairs):
            text = self.text(guard.expr)
            in_call = number >= self._num_required
            frame = stack[0] if stack and in_call else None
            made[in_call].setdefault(text, Guard(Formula(text), frame))
        return tuple(made[True].values()), tuple(made[False].values())

    def derived(self) -> tuple[Quantity, ...]:
        """Every quantity that was named, those of data first."""
        made = {**self._derived, **{q.name: q for q in self._functions.values()}}
        return (*self.quantities.values(), *made.values())

    def text(self, expression: sympy.Basic) -> str:
        """An expression in the axes' names, in Python's notation."""
        return str(SymbolPrinter(self.name).doprint(expression))

    def polynomial(self, value: Any) -> Polynomial:
        """A size or its expression as a polynomial; what is not one becomes a quantity in it."""
        expanded = sympy.expand(rounded_up(self.env.simplified(self.expression(value))))
        terms: dict[tuple[str, ...], Fraction] = {}
        for product, coefficient in expanded.as_coefficients_dict().items():
            key: list[str] = []
            for base, power in product.as_powers_dict().items():
                if base == 1:
                    continue
                key += self._factor(base, power)
            number = sympy.Rational(coefficient)
            monomial = tuple(sorted(key))
            added = Fraction(int(number.p), int(number.q))
            terms[monomial] = terms.get(monomial, Fraction(0)) + added
        return Polynomial.of(terms, self._order)

    def _factor(self, base: sympy.Basic, power: sympy.Basic) -> list[str]:
        whole = power.is_Integer and int(cast("Any", power)) > 0
        if whole and isinstance(base, sympy.Symbol):
            return [self.name(base)] * int(cast("Any", power))
        if whole:
            return [self._derive(base)] * int(cast("Any", power))
        return [self._derive(cast("Any", base) ** power)]

    def _derive(self, expression: sympy.Basic) -> str:
        """A name for what is no polynomial: its own text, as short as it comes."""
        text = self.text(expression)
        name = text if text[-1] == ")" and text.count("(") == 1 else f"({text})"
        self._derived.setdefault(name, Quantity(name, "a function of the sizes", Formula(text)))
        return name
