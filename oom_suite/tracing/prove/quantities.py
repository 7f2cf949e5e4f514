"""Names for sizes that data decides: what they count, and what they cannot exceed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy  # type: ignore[import-untyped]  # sympy has no types

from oom_suite.operators.operands import operator, tensors
from oom_suite.records.symbolic import Formula, Quantity
from oom_suite.tracing.index_ranges import NOTHING

if TYPE_CHECKING:
    from oom_suite.records import Frame
    from oom_suite.torch_compat.dispatch import OpOverload
    from oom_suite.tracing.index_ranges import IndexRanges, Range
    from oom_suite.tracing.prove.symbols import Symbols

_COUNTS = {
    "aten::nonzero": ("true_entries", "the true entries of a mask"),
    "aten::masked_select": ("true_entries", "the true entries of a mask"),
}
_SUMS = {
    "aten::bincount": ("bins", "the bins of the largest value that bincount counts"),
    "aten::repeat_interleave": ("repeats", "what all repeats come to"),
}
_READS = frozenset({"aten::_local_scalar_dense", "aten::item"})


def quantity(
    symbols: Symbols,
    ranges: IndexRanges,
    func: OpOverload,
    args: tuple[Any, ...],
    stack: tuple[Frame, ...],
) -> Quantity:
    """The quantity that this operator has just made."""
    family = operator(func).family
    frame = stack[0] if stack else None
    first = next(tensors(args), None)
    found = ranges.of(first) if first is not None else None
    found = None if found == NOTHING else found
    bounds: list[str] = []
    if family in _READS:
        name, what = "host_value", "a value that the host reads"
        if found is not None:
            bounds.append(symbols.text(found.high))
    elif family in _SUMS:
        name, what = _SUMS[family]
        most = _most(family, symbols, found, args)
        bounds += [] if most is None else [symbols.text(most)]
    else:
        if first is not None:
            bounds.append(symbols.text(symbols.expression(first.numel())))
        name, what = _COUNTS.get(family, ("data_size", f"a size that {family} finds"))
        if "unique" in family:
            name, what = "distinct_values", "the distinct values that unique finds"
            if found is not None:
                num_values = found.high - found.low + 1
                bounds.append(symbols.text(num_values))
                axis = _axis(symbols, num_values)
                if axis is not None:
                    name = distinct_name(axis)
                    what = f"the distinct ones of {axis} that the data names"
    return Quantity(_unused(name, symbols), what, None, tuple(map(Formula, bounds)), frame)


def _most(
    family: str, symbols: Symbols, found: Range | None, args: tuple[Any, ...]
) -> sympy.Expr | None:
    """The largest size that the range of an operator's input lets its result have."""
    if found is None:
        return None
    if family == "aten::repeat_interleave":
        return sympy.expand(found.high * symbols.expression(args[0].numel()))
    least = symbols.expression(args[2]) if len(args) > 2 else sympy.Integer(0)
    return sympy.Max(least, found.high + 1)


def distinct_name(axis: str) -> str:
    """``swa_distinct_blocks`` for ``swa_num_blocks``: how many of an axis's things data names."""
    return axis.replace("num_", "distinct_") if "num_" in axis else f"distinct_{axis}"


def _axis(symbols: Symbols, expression: sympy.Expr) -> str | None:
    """The axis that an expression is, and nothing more."""
    if expression.is_Symbol and symbols.is_axis(expression):
        return symbols.name(expression)
    return None


def _unused(name: str, symbols: Symbols) -> str:
    taken = {known.name for known in symbols.quantities.values()} | set(symbols.sizes)
    number, tried = 1, name
    while tried in taken:
        number += 1
        tried = f"{name}_{number}"
    return tried
