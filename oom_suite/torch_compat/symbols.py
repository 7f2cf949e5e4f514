"""Sizes as symbols: torch's environment of them, and what a symbolic size stands for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

import sympy  # type: ignore[import-untyped]  # sympy has no types
import torch

from oom_suite.torch_compat.probes import Name, needed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SHAPES = "torch.fx.experimental.symbolic_shapes"
_OPTIONS = (
    "allow_scalar_outputs", "allow_dynamic_output_shape_ops", "specialize_zero_one", "duck_shape",
)  # fmt: skip

NAMES = (
    Name(f"{_SHAPES}:ShapeEnv", positional=0, keywords=_OPTIONS),
    Name(f"{_SHAPES}:ShapeEnv.axioms"),
    Name(f"{_SHAPES}:ShapeEnv.backed_var_to_val"),
    Name(f"{_SHAPES}:ShapeEnv.guards"),
    Name(f"{_SHAPES}:ShapeEnv.replacements"),
    Name(f"{_SHAPES}:ShapeEnv.var_to_range"),
    Name(f"{_SHAPES}:ShapeEnv.create_symbol", positional=3, keywords=("dynamic_dim",)),
    Name(f"{_SHAPES}:ShapeEnv.create_symintnode", positional=2, keywords=("hint", "source")),
    Name(f"{_SHAPES}:ShapeEnv.create_unbacked_symbool", positional=1),
    Name(f"{_SHAPES}:ShapeEnv.create_unbacked_symfloat", positional=1),
    Name(f"{_SHAPES}:ShapeEnv.create_unbacked_symint", positional=1),
    Name(f"{_SHAPES}:ShapeEnv.evaluate_expr", positional=2),
    Name(f"{_SHAPES}:ShapeEnv.replace", positional=2),
    Name(f"{_SHAPES}:ShapeEnv._inner_evaluate_expr.cache_clear", positional=0),
    Name(f"{_SHAPES}:ShapeEnv._update_version_counter", positional=1),
    Name(f"{_SHAPES}:DimDynamic.DYNAMIC"),
    Name(f"{_SHAPES}:GuardOnDataDependentSymNode"),
    Name("torch.fx.experimental.sym_node:SymNode.expr"),
    Name("torch.fx.experimental.sym_node:SymNode.hint"),
    Name("torch:SymInt.node"),
    Name("torch:SymInt.__int__", positional=1),
    Name("torch._dynamo.source:ConstantSource", positional=1),
    Name("torch.utils._sympy.value_ranges:ValueRanges", positional=2),
)
"""The names of torch behind this module."""

with needed("the prove lane needs", NAMES):
    from torch._dynamo.source import ConstantSource
    from torch.fx.experimental.symbolic_shapes import (
        DimDynamic,
        GuardOnDataDependentSymNode,
        ShapeEnv,
    )
    from torch.utils._sympy.value_ranges import ValueRanges

__all__ = [
    "GuardOnDataDependentSymNode",
    "SymbolEnv",
    "as_number",
    "expression_of",
    "hint_of",
    "int_conversion",
]


class SymbolEnv(ShapeEnv):
    """torch's environment of symbolic sizes.

    Sizes of 0 and 1 are symbols as others are, and equal sizes are different symbols.

    Args:
        guards: is appended to at each condition that is taken for granted; its ``expr`` is that.
        undecided: answers a condition on sizes that data decides, which torch refuses to; None
            leaves it refused.
        on_data_size: is given each size that data decides, when an operator makes one.
    """

    def __init__(
        self,
        guards: list[Any],
        undecided: Callable[[sympy.Basic], sympy.Basic | None],
        on_data_size: Callable[[sympy.Symbol], None],
    ) -> None:
        super().__init__(
            allow_scalar_outputs=True,
            allow_dynamic_output_shape_ops=True,
            specialize_zero_one=False,
            duck_shape=False,
        )
        self.guards = guards
        self._undecided = undecided
        self._on_data_size = on_data_size

    def new_symbol(self, name: str, hint: int) -> sympy.Symbol:
        """A symbol for a size; torch says `name` where it speaks of it."""
        made = self.create_symbol(hint, ConstantSource(name), dynamic_dim=DimDynamic.DYNAMIC)
        return cast("sympy.Symbol", made)

    def size(self, symbol: sympy.Symbol, name: str, hint: int) -> torch.SymInt:
        """The size that a symbol of this environment stands for, to be used as an ``int``."""
        made = self.create_symintnode(symbol, hint=hint, source=ConstantSource(name))
        return cast("torch.SymInt", made)

    def set_least(self, symbol: sympy.Symbol, least: int) -> None:
        """Let a symbol be at least so large, and no more be known of its range."""
        self.var_to_range[symbol] = ValueRanges(least, sympy.oo)

    def simplified(self, expression: sympy.Expr) -> sympy.Expr:
        """An expression with what its symbols have become in their place. Adds no guard."""
        return cast("sympy.Expr", self.replace(expression))

    def is_replaced(self, symbol: sympy.Symbol) -> bool:
        """Whether a symbol has become a number or another expression."""
        return symbol in self.replacements

    def value_at_hints(self, symbol: sympy.Symbol) -> int | None:
        """The hint of a symbol; None for what data decides."""
        value = self.backed_var_to_val.get(symbol)
        return None if value is None else int(value)

    def forget_conditions(self) -> None:
        """Take nothing for granted any more that was asked so far; replacements stay."""
        self.axioms.clear()
        self._update_version_counter()
        type(self)._inner_evaluate_expr.cache_clear()

    def evaluate_expr(self, orig_expr: sympy.Basic, *args: Any, **kwargs: Any) -> sympy.Basic:
        """What torch says of a condition; where it refuses to, what `undecided` says."""
        try:
            return super().evaluate_expr(orig_expr, *args, **kwargs)
        except GuardOnDataDependentSymNode:
            answer = self._undecided(orig_expr)
            if answer is None:
                raise
            return answer

    def create_unbacked_symint(self, *args: Any, **kwargs: Any) -> Any:
        """A size that data decides."""
        return self._reported(super().create_unbacked_symint(*args, **kwargs))

    def create_unbacked_symfloat(self, *args: Any, **kwargs: Any) -> Any:
        """A value that data decides."""
        return self._reported(super().create_unbacked_symfloat(*args, **kwargs))

    def create_unbacked_symbool(self, *args: Any, **kwargs: Any) -> Any:
        """A truth value that data decides."""
        return self._reported(super().create_unbacked_symbool(*args, **kwargs))

    def _reported(self, made: Any) -> Any:
        self._on_data_size(made.node.expr)
        return made


def expression_of(size: torch.SymInt) -> sympy.Expr:
    """A symbolic size in torch's mathematics. Adds no guard."""
    return cast("sympy.Expr", size.node.expr)


def hint_of(size: torch.SymInt) -> int | None:
    """What a symbolic size is at the hints; None where data decides. Adds no guard."""
    hint: int | None = size.node.hint
    return hint


as_number: Callable[[torch.SymInt], int] = torch.SymInt.__int__
"""Makes a number of a symbolic size, as ``int(size)`` does: that it is this number is a guard."""


@contextlib.contextmanager
def int_conversion(convert: Callable[[torch.SymInt], int]) -> Iterator[None]:
    """While active, ``int(size)`` of a symbolic size calls `convert`, from the caller's frame."""
    with mock.patch.object(torch.SymInt, "__int__", convert):
        yield
