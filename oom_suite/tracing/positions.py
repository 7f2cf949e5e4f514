"""The ranges of what operators find or draw: positions in their input, counts, whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy  # type: ignore[import-untyped]  # sympy has no types
import torch

from oom_suite.torch_compat.dispatch import schema_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.torch_compat.dispatch import OpOverload

    Expression = Callable[[Any], sympy.Expr]

_WITH_VALUES = frozenset(
    {"topk", "sort", "max", "min", "kthvalue", "mode", "median", "cummax", "cummin"}
)
"""Operators whose second result is where the first was found along a dimension."""

_ALONE = frozenset({"argmax", "argmin", "argsort"})
_COUNTS = frozenset({"bincount", "count_nonzero"})


def found_in_second(name: str) -> bool:
    """Whether an operator gives positions as its second result."""
    return name in _WITH_VALUES


def highest(
    name: str,
    func: OpOverload,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    expression: Expression,
) -> sympy.Expr | None:
    """The largest value that an operator can find, count or draw; the least is 0.

    Args:
        name: the operator, without ``aten::`` and overload.
        func: the operator.
        args: what it was given.
        kwargs: what it was given by name.
        expression: gives torch's mathematics of a size, symbolic or plain.

    Returns:
        None where that is not known, or the least is another.
    """
    if name in _WITH_VALUES or name in _ALONE:
        return _last_along(func, args, kwargs, expression)
    if name in _COUNTS:
        is_weighted = name == "bincount" and argument(func, "weights", args, kwargs) is not None
        return None if is_weighted else expression(args[0].numel())
    if name == "nonzero":
        return expression(args[0].shape[0]) - 1 if args[0].dim() == 1 else None
    if name == "multinomial":
        return expression(args[0].shape[-1]) - 1
    if name == "bucketize":
        return expression(argument(func, "boundaries", args, kwargs).numel())
    if name == "searchsorted":
        return expression(args[0].shape[-1])
    if name == "randperm":
        return expression(args[0]) - 1
    return None


def drawn(
    name: str,
    func: OpOverload,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    expression: Expression,
) -> tuple[sympy.Expr, sympy.Expr] | None:
    """Least and largest value of whole numbers drawn at random; None where no limit is given."""
    if name not in {"randint", "randint_like", "random", "random_"}:
        return None
    low = argument(func, "low", args, kwargs)
    high = argument(func, "high", args, kwargs)
    if name.startswith("random"):
        low = argument(func, "from", args, kwargs)
        high = argument(func, "to", args, kwargs)
    if high is None or isinstance(high, torch.Tensor):
        return None
    return expression(low or 0), expression(high) - 1


def _last_along(
    func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any], expression: Expression
) -> sympy.Expr | None:
    source = args[0]
    if source.dim() == 0:
        return sympy.Integer(0)
    has_dim = any(argument.name == "dim" for argument in schema_of(func).arguments)
    dim = argument(func, "dim", args, kwargs)
    if not isinstance(dim, int):
        # argmax without a dimension counts through all of them; max without one gives no position.
        name = schema_of(func).name.removeprefix("aten::")
        return expression(source.numel()) - 1 if name in _ALONE and has_dim else None
    return expression(source.shape[dim]) - 1


def argument(func: OpOverload, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What an operator was given for an argument, or its default; None where it takes none."""
    if name in kwargs:
        return kwargs[name]
    for position, argument in enumerate(schema_of(func).arguments):
        if argument.name == name:
            return args[position] if position < len(args) else argument.default_value
    return None
