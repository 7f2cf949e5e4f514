"""Between which values index data lies, as expressions in the axes.

Symbolic sizes leave index data without values. What can be told of them is their range: slots
made of ``arange``, remainders and products lie below ``num_blocks * block_size``, and so their
blocks below ``num_blocks``. That bounds how many distinct ones there are.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import sympy  # type: ignore[import-untyped]  # sympy has no types
import torch

from oom_suite.operators.operands import operator, tensors, written_tensors
from oom_suite.torch_compat.dispatch import no_dispatch, storage_key
from oom_suite.torch_compat.fakes import literal_of
from oom_suite.tracing.positions import drawn, found_in_second, highest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.torch_compat.dispatch import OpOverload

_SHAPES_KEPT = frozenset({
    "_to_copy", "clone", "index_select", "index", "gather", "take", "unique_dim", "masked_select",
    "max", "min", "amax", "amin", "sort", "flip", "repeat", "roll", "cummax", "lift_fresh_copy",
})  # fmt: skip
_FROM_ZERO = frozenset({"zeros", "zeros_like", "new_zeros", "zero"})
_UNWRITTEN = frozenset({"empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided"})
_INTEGERS = frozenset({torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64})


class Range(NamedTuple):
    """Least and largest value, both of which may be out of reach."""

    low: sympy.Expr
    high: sympy.Expr

    def joined(self, other: Range) -> Range | None:
        """A range that holds both, where it is known which ends are further out."""
        if NOTHING in {self, other}:
            return other if self == NOTHING else self
        low = _lesser(self.low, other.low)
        high = _lesser(-self.high, -other.high)
        return None if low is None or high is None else Range(low, -high)


_TRUTH = Range(sympy.Integer(0), sympy.Integer(1))
NOTHING = Range(sympy.oo, -sympy.oo)
"""No value at all: memory that nobody has written yet."""


def is_nonnegative(expression: sympy.Expr) -> bool:
    """Whether an expression in sizes of at least 1 is provably at least 0."""
    if expression.is_Integer:
        return bool(expression >= 0)
    ones = {symbol: symbol + 1 for symbol in expression.free_symbols}
    moved = sympy.expand(expression.subs(ones))
    return all(
        coefficient.is_number and coefficient >= 0
        for coefficient in moved.as_coefficients_dict().values()
    ) and all(atom.is_nonnegative for atom in moved.atoms(sympy.Function))


class IndexRanges:
    """The ranges of tensors, as far as they are known; kept per storage.

    Args:
        expression: gives torch's mathematics of a size, symbolic or plain.
        extremes: gives the least and the largest value of a tensor whose values are known, and
            None of others; None where no values are.
    """

    def __init__(
        self,
        expression: Callable[[Any], sympy.Expr],
        extremes: Callable[[torch.Tensor], tuple[int, int] | None] | None = None,
    ) -> None:
        self._expression = expression
        self._extremes = extremes
        self._known: dict[int, tuple[weakref.ref[Any], Range]] = {}

    def of(self, value: Any) -> Range | None:
        """The range of a tensor, or of a plain or symbolic whole number."""
        if isinstance(value, bool):
            return _TRUTH
        if isinstance(value, (int, torch.SymInt)):
            exact = self._expression(value)
            return Range(exact, exact)
        if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
            return None
        if value.dtype is torch.bool:
            return _TRUTH
        literal = literal_of(value)
        if literal is not None and literal.numel() == 1 and literal.dtype in _INTEGERS:
            with no_dispatch():
                return self.of(literal.item())
        storage = value.untyped_storage()
        found = self._known.get(storage_key(storage))
        if found is not None and found[0]() is storage:
            return found[1]
        exact = self._extremes(value) if self._extremes is not None else None
        return None if exact is None else Range(*map(self._expression, exact))

    def follow(
        self,
        func: OpOverload,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        result: Any,
    ) -> None:
        """Learn what an operator that has just run says about its results."""
        facts = operator(func)
        name = facts.family.removeprefix("aten::")
        if facts.is_mutable:
            self._written(name, func, args, kwargs)
            return
        first = next(tensors(result), None)
        if found_in_second(name) and not isinstance(result, torch.Tensor):
            last = highest(name, func, args, kwargs, self._expression)
            if last is not None:
                self._keep(result[1], Range(sympy.Integer(0), last))
        if facts.returns_alias or first is None or first.dtype not in _INTEGERS:
            return
        if name in {"_unique2", "_unique", "unique_consecutive"}:
            self._unique(args, result)
            return
        found = self._found(name, func, args, kwargs) or self._computed(name, args, kwargs)
        if found is not None:
            self._keep(first, found)

    def _found(
        self, name: str, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Range | None:
        """The range of positions, counts and whole numbers drawn at random."""
        ends = drawn(name, func, args, kwargs, self._expression)
        if ends is not None:
            return Range(*ends)
        if found_in_second(name):
            return None
        last = highest(name, func, args, kwargs, self._expression)
        return None if last is None else Range(sympy.Integer(0), last)

    def forget(self, value: Any) -> None:
        """Anything may have been written to these tensors."""
        for tensor in tensors(value):
            if tensor.layout is torch.strided:
                self._known.pop(storage_key(tensor.untyped_storage()), None)

    def _keep(self, tensor: torch.Tensor, found: Range) -> None:
        storage = tensor.untyped_storage()
        self._known[storage_key(storage)] = (weakref.ref(storage), found)

    def _written(
        self,
        name: str,
        func: OpOverload,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        targets = list(written_tensors(operator(func), args, kwargs))
        before = self.of(targets[0]) if len(targets) == 1 else None
        plain = {key: value for key, value in kwargs.items() if key != "out"}
        plain_name = name.rstrip("_")
        added = self._found(plain_name, func, args, plain) or self._computed(
            plain_name, args, plain
        )
        self.forget(targets)
        joined = before.joined(added) if before is not None and added is not None else None
        if joined is not None and targets[0].dtype in _INTEGERS:
            self._keep(targets[0], joined)

    def _unique(self, args: tuple[Any, ...], result: Any) -> None:
        given = self.of(args[0])
        if given is not None:
            self._keep(result[0], given)
        last = self._expression(result[0].shape[0]) - 1
        self._keep(result[1], Range(sympy.Integer(0), last))

    def _computed(
        self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Range | None:
        if name in _FROM_ZERO:
            return self.of(0)
        if name in _UNWRITTEN:
            return NOTHING
        if name in _SHAPES_KEPT:
            return self.of(args[0])
        ranges = [self.of(arg) for arg in args]
        match name:
            case "arange":
                ends = [self._expression(arg) for arg in args]
                start, end = ([sympy.Integer(0), *ends] if len(ends) == 1 else ends)[:2]
                return Range(start, end - 1) if len(ends) < 3 else None
            case "full" | "new_full" | "full_like":
                return self.of(args[1] if name != "new_full" else args[2])
            case "fill" | "copy":
                return ranges[1]
            case "scalar_tensor":
                return ranges[0]
            case "clamp":
                low, high = (ranges[1:] + [None] * 2)[:2]
                return _clamped(ranges[0], low, high)
            case "cumsum" | "sum":
                return self._summed(args[0], ranges[0])
            case "tril" | "triu":
                return _joined(ranges[0], self.of(0))
            case "constant_pad_nd":
                filled = args[2] if len(args) > 2 else 0
                # Python hands the number over as a float, whatever the tensor holds.
                filled = int(filled) if isinstance(filled, float) else filled
                return _joined(ranges[0], self.of(filled))
            case "masked_fill" | "clamp_min":
                return _joined(ranges[0], ranges[-1])
            case "where":
                return _joined(ranges[1], ranges[2])
            case "cat" | "stack":
                return self._all(args[0])
            case _:
                plain = not kwargs and len(args) == 2
                floors = kwargs == {"rounding_mode": "floor"}
                left, right = (ranges + [None] * 2)[:2]
                if not (plain or floors) or left is None or right is None:
                    return None
                return None if NOTHING in {left, right} else _arithmetic(name, floors, left, right)

    def _summed(self, terms: torch.Tensor, each: Range | None) -> Range | None:
        if each in {None, NOTHING} or not is_nonnegative(each.low):
            return None
        most = _expanded(each.high * self._expression(terms.numel()))
        return Range(sympy.Integer(0), most)

    def _all(self, parts: Any) -> Range | None:
        found = self.of(parts[0])
        for part in parts[1:]:
            found = _joined(found, self.of(part))
        return found


def _arithmetic(name: str, floors: bool, left: Range, right: Range) -> Range | None:
    if name == "add":
        return Range(left.low + right.low, left.high + right.high)
    if name == "sub":
        return Range(left.low - right.high, left.high - right.low)
    positive = is_nonnegative(right.low - 1)
    natural = is_nonnegative(left.low)
    if name == "mul" and natural and is_nonnegative(right.low):
        return Range(_expanded(left.low * right.low), _expanded(left.high * right.high))
    if name == "remainder" and positive:
        return Range(sympy.Integer(0), right.high - 1)
    if (name == "floor_divide" or (name == "div" and floors)) and positive and natural:
        return Range(sympy.Integer(0), floor_quotient(left.high, right.low))
    return None


def floor_quotient(dividend: sympy.Expr, divisor: sympy.Expr) -> sympy.Expr:
    """At least ``dividend // divisor``, both of them natural, as a polynomial."""
    if dividend.is_Integer and divisor.is_Integer:
        return dividend // divisor
    whole, rest = [], []
    for term in sympy.expand(dividend).as_ordered_terms():
        if divisor.is_Integer:
            # Rounded up: what is left over is then negative, and takes one off the quotient.
            number, factors = term.as_coeff_Mul()
            quotient = sympy.ceiling(number / divisor)
            whole.append(quotient * factors)
            rest.append((number - quotient * divisor) * factors)
            continue
        ratio = sympy.cancel(term / divisor)
        is_whole = ratio.is_polynomial() and ratio.as_coeff_Mul()[0].is_Integer
        (whole if is_whole else rest).append(ratio if is_whole else term)
    quotient, remainder = sympy.Add(*whole), sympy.Add(*rest)
    if is_nonnegative(-remainder - 1):
        return cast("sympy.Expr", quotient - 1)
    if is_nonnegative(divisor - 1 - remainder):
        return cast("sympy.Expr", quotient)
    # Dividing by at least 1 makes nothing larger.
    return dividend


def _expanded(product: sympy.Expr) -> sympy.Expr:
    """A product as a sum. In the shadow lane it is a number, which sympy would look at for long."""
    return product if product.is_Integer else sympy.expand(product)


def _lesser(one: sympy.Expr, other: sympy.Expr) -> sympy.Expr | None:
    if is_nonnegative(other - one):
        return one
    return other if is_nonnegative(one - other) else None


def _clamped(given: Range | None, low: Range | None, high: Range | None) -> Range | None:
    """What lies between two limits; nearer than they are where the values already did."""
    if low is None or high is None:
        return None
    # Where the limits cross, torch gives the upper one.
    least, most = _lesser(low.low, high.low), high.high
    if given is not None and given != NOTHING:
        if _is_between(low.low, given.low, high.low):
            least = given.low
        if _is_between(low.high, given.high, high.high):
            most = given.high
    return None if least is None else Range(least, most)


def _is_between(low: sympy.Expr, value: sympy.Expr, high: sympy.Expr) -> bool:
    return is_nonnegative(value - low) and is_nonnegative(high - value)


def _joined(one: Range | None, other: Range | None) -> Range | None:
    return None if one is None or other is None else one.joined(other)
