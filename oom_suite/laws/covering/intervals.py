"""What polynomials and conditions can be over a box of sizes: bounds that hold everywhere in it."""

from __future__ import annotations

import ast
import functools
import math
import operator
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.records import Polynomial
    from oom_suite.records.symbolic import Formula

    Number = int | float
    Range = tuple[Number, Number]
    Ranges = Mapping[str, tuple[int, int]]


def bounds(polynomial: Polynomial, ranges: Ranges) -> tuple[int, int]:
    """Whole numbers that the polynomial is nowhere below and nowhere above in a box.

    Every term is bounded by its sign after the box is moved to start at zero: where no coefficient
    is negative then, the second is the value at the upper corner, and is reached there.

    Args:
        polynomial: bytes in the axes.
        ranges: each axis' least and largest size, whole numbers of at least 0.

    Raises:
        KeyError: an axis has no range.
    """
    lower = {axis: ranges[axis][0] for axis in polynomial.axes}
    widths = {axis: ranges[axis][1] - ranges[axis][0] for axis in lower}
    below = above = polynomial(lower)
    for axes, coefficient in polynomial.shifted(lower).terms.items():
        reach = coefficient * math.prod(widths[axis] for axis in axes) if axes else 0
        below, above = below + min(reach, 0), above + max(reach, 0)
    return math.floor(below), math.ceil(above)


def holds_over(formula: Formula, ranges: Ranges) -> bool | None:
    """Whether a condition is true everywhere in a box, or nowhere; None where that is not known.

    Each operation is bounded by its values at the ends of its operands, computed as the condition
    itself would be: rounding keeps their order.
    """
    return _truth(_evaluated(formula, ranges))


def range_of(formula: Formula, ranges: Ranges) -> tuple[int, int] | None:
    """What a formula is nowhere below and nowhere above in a box; None where that is not known."""
    value = _evaluated(formula, ranges)
    if not isinstance(value, tuple) or not all(map(math.isfinite, value)):
        return None
    return math.floor(value[0]), math.ceil(value[1])


@functools.lru_cache(maxsize=4096)
def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


class _UnknownError(Exception):
    """Nothing is known of a value."""


def _evaluated(formula: Formula, ranges: Ranges) -> Any:
    """A range, or True, False or None for a condition; None too where nothing is known."""
    named = {name: ranges[name] for name in formula.names if name in ranges}
    try:
        if all(low == high for low, high in named.values()):
            value = formula({name: low for name, (low, _) in named.items()})
            return value if isinstance(value, bool) else (value, value)
        return _Walk(named).visit(_parsed(formula.text))
    except (_UnknownError, ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _truth(value: Any) -> bool | None:
    if isinstance(value, tuple):
        return True if value[0] > 0 or value[1] < 0 else False if value == (0, 0) else None
    return value if isinstance(value, bool) else None


_RISING: dict[str, Callable[[Number], Number]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "float": float,
    "trunc": math.trunc,
    "round": round,
    "next_power_of_2": lambda value: 1 << (int(value) - 1).bit_length() if value > 0 else 0,
}
"""Functions that never fall as their argument rises."""

_CORNERS: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
_SWAPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Gt: ast.Lt, ast.GtE: ast.LtE}


class _Walk:
    """Evaluates an expression on ranges.

    Args:
        ranges: by name.
    """

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = ranges

    def visit(self, node: ast.expr) -> Any:
        """The range of a number; True, False or None of a condition."""
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return value if isinstance(value, bool) else (value, value)
            case ast.Name(id=name):
                return self._ranges[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                low, high = self._range(operand)
                return -high, -low
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = _truth(self.visit(operand))
                return None if inner is None else not inner
            case ast.BoolOp(op=op, values=values):
                return _joined(op, [_truth(self._known(value)) for value in values])
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return _compared(op, self._range(left), self._range(right))
            case ast.BinOp(left=left, op=op, right=right):
                return _combined(op, self._range(left), self._range(right))
            case ast.Call(func=ast.Name(id=name), args=args):
                return _called(name, [self._range(argument) for argument in args])
        raise _UnknownError

    def _known(self, node: ast.expr) -> Any:
        """The value of a part; None where nothing is known of it alone."""
        try:
            return self.visit(node)
        except (_UnknownError, ArithmeticError, KeyError, TypeError, ValueError):
            return None

    def _range(self, node: ast.expr) -> Range:
        value = self.visit(node)
        if isinstance(value, bool):
            return int(value), int(value)
        if value is None:
            return 0, 1
        low, high = value
        return low, high


def _joined(op: ast.boolop, parts: list[bool | None]) -> bool | None:
    """``and`` and ``or`` of parts, any of which may be unknown."""
    decisive = isinstance(op, ast.Or)
    if decisive in parts:
        return decisive
    return None if None in parts else not decisive


def _compared(op: ast.cmpop, left: Range, right: Range) -> bool | None:
    if type(op) in _SWAPPED:
        op, left, right = _SWAPPED[type(op)](), right, left
    match op:
        case ast.Lt():
            return True if left[1] < right[0] else False if left[0] >= right[1] else None
        case ast.LtE():
            return True if left[1] <= right[0] else False if left[0] > right[1] else None
        case ast.Eq() | ast.NotEq():
            is_apart = left[1] < right[0] or right[1] < left[0]
            is_one = left == right and left[0] == left[1]
            equal = False if is_apart else True if is_one else None
            return equal if isinstance(op, ast.Eq) or equal is None else not equal
    raise _UnknownError


def _combined(op: ast.operator, left: Range, right: Range) -> Range:
    corners = _CORNERS.get(type(op))
    if corners is None and isinstance(op, ast.FloorDiv | ast.Div) and right[0] > 0:
        corners = operator.floordiv if isinstance(op, ast.FloorDiv) else operator.truediv
    if corners is None and isinstance(op, ast.Pow) and left[0] >= 0 and right[0] == right[1] >= 0:
        corners = operator.pow
    if corners is not None:
        values = [corners(one, other) for one, other in product(left, right)]
        return min(values), max(values)
    if isinstance(op, ast.Mod) and right[0] == right[1] > 0:
        whole = right[0]
        if left[0] // whole == left[1] // whole:
            return left[0] % whole, left[1] % whole
        return 0, whole - 1 if all(isinstance(n, int) for n in (*left, whole)) else whole
    raise _UnknownError


def _called(name: str, arguments: list[Range]) -> Range:
    if name in _RISING and len(arguments) == 1:
        ((low, high),) = arguments
        return _RISING[name](low), _RISING[name](high)
    if name in {"min", "max"} and arguments:
        chosen = min if name == "min" else max
        return chosen(low for low, _ in arguments), chosen(high for _, high in arguments)
    if name == "abs" and len(arguments) == 1:
        ((low, high),) = arguments
        least = 0 if low <= 0 <= high else min(abs(low), abs(high))
        return least, max(abs(low), abs(high))
    raise _UnknownError
