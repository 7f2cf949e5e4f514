"""What the prove lane gives: a trace whose bytes are expressions in the axes' own names."""

from __future__ import annotations

import ast
import functools
import math
import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.records.frame import Frame
    from oom_suite.records.law import Polynomial
    from oom_suite.records.trace import Launch

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def _next_power_of_2(value: int) -> int:
    return 1 << (value - 1).bit_length() if value > 0 else 0


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "max": max,
    "min": min,
    "floor": math.floor,
    "ceil": math.ceil,
    "float": float,
    "trunc": math.trunc,
    "round": round,
    "abs": abs,
    "next_power_of_2": _next_power_of_2,
}
"""What a formula may call."""


@dataclass(frozen=True, slots=True)
class Formula:
    """An expression in axes and quantities that can be read, and evaluated without torch.

    Attributes:
        text: Python's own notation: ``(num_tokens + 63)//64``, ``swa_topk >= 2``.
    """

    text: str

    @property
    def names(self) -> frozenset[str]:
        """The axes and quantities in it."""
        names = {n.id for n in ast.walk(_parsed(self.text)) if isinstance(n, ast.Name)}
        return frozenset(names - FUNCTIONS.keys())

    def __call__(self, values: Mapping[str, int]) -> Any:
        """Its value: a number, or a truth value where it is a condition.

        Raises:
            KeyError: an axis or quantity has no value.
        """
        return _value(_parsed(self.text).body, values)

    def __str__(self) -> str:
        """The text."""
        return self.text


@functools.lru_cache(maxsize=4096)
def _parsed(text: str) -> ast.Expression:
    return ast.parse(text, mode="eval")


def _value(node: ast.expr, values: Mapping[str, int]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_value(left, values), _value(right, values))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, values)
        case ast.BoolOp(op=op, values=parts):
            decide = all if isinstance(op, ast.And) else any
            return decide(_value(part, values) for part in parts)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _COMPARISONS[type(op)](_value(left, values), _value(right, values))
        case ast.Call(func=ast.Name(id=name), args=args):
            return FUNCTIONS[name](*(_value(arg, values) for arg in args))
    msg = f"not part of a formula: {ast.unparse(node)}"
    raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Hints:
    """What one symbolic run is asked for.

    Attributes:
        sizes: a value for every axis; code that must choose a branch is told these.
        held: axes that stay plain numbers.
        lower: the smallest value of each axis; 1 where not given.
        longest: operators after which the run is stopped where an axis is a number, whether held
            or made so by the code; 0 for no end.
    """

    sizes: Mapping[str, int]
    held: tuple[str, ...] = ()
    lower: Mapping[str, int] = field(default_factory=dict)
    longest: int = 0


@dataclass(frozen=True, slots=True)
class Guard:
    """What a run took for granted about the sizes, because the code asked and needs an answer.

    Attributes:
        formula: the condition that was true at the hints.
        frame: the line that asked; None when no line under test is on the stack.
    """

    formula: Formula
    frame: Frame | None = None

    def __str__(self) -> str:
        """``swa_topk > 64 at file:line (function)``."""
        return f"{self.formula} at {self.frame}" if self.frame else str(self.formula)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A size in a law that is no axis: one that data decides, or a function of the axes.

    Attributes:
        name: how the law calls it.
        what: what it counts, in words.
        value: how it follows from the axes; None where data decides.
        at_most: what it never exceeds.
        frame: the line that made it.
    """

    name: str
    what: str
    value: Formula | None = None
    at_most: tuple[Formula, ...] = ()
    frame: Frame | None = None

    def __str__(self) -> str:
        """The name, what it is, its bounds and its line, as one clause."""
        if self.value is not None:
            return f"{self.name} = {self.value}"
        bounds = "".join(f", at most {bound}" for bound in self.at_most)
        at = f" at {self.frame}" if self.frame else ""
        return f"{self.name}: {self.what}{at}{bounds}"


@dataclass(frozen=True, slots=True)
class SymbolicAllocation:
    """One request to the allocator, at any size.

    Attributes:
        requested: the bytes asked for, in the axes and quantities.
        op: the operator that asked.
        stack: lines of the code under test, innermost first.
    """

    requested: Polynomial
    op: str
    stack: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class SymbolicUnseen:
    """An operator whose kernel may take scratch that dispatch cannot see.

    Attributes:
        op: the operator's name.
        stack: where it was called, innermost first.
        given: bytes of its tensor inputs.
        reason: what the kernel allocates inside, in one clause.
    """

    op: str
    stack: tuple[Frame, ...]
    given: Polynomial
    reason: str


@dataclass(frozen=True, slots=True)
class SymbolicTrace:
    """What one call asks of the allocator at every size that takes its branches.

    Attributes:
        hints: the sizes that chose the branches.
        specialised: axes that the code made numbers of, each with the value and the line.
        allocations: every request, in order.
        events: ``("alloc", index)`` and ``("free", index)``, in order.
        guards: what the call took for granted about the sizes.
        requires: what the builder asked of them; a condition of the workload, not of the code.
        quantities: the names in the requests that are no axes.
        unseen: operators with scratch that dispatch cannot see.
        launches: kernels recorded and not run.
        host_reads: lines that read a tensor's value on the host.
        host: what the same call asks of pageable host memory; None in the trace of a host's.
        pinned: what it asks of pinned host memory; None likewise.
        is_cut: whether the call was stopped before its end, as `Hints.longest` has it.
    """

    hints: Hints
    specialised: Mapping[str, tuple[int, Frame | None]]
    allocations: tuple[SymbolicAllocation, ...]
    events: tuple[tuple[str, int], ...]
    guards: tuple[Guard, ...] = ()
    requires: tuple[Guard, ...] = ()
    quantities: tuple[Quantity, ...] = ()
    unseen: tuple[SymbolicUnseen, ...] = ()
    launches: tuple[Launch, ...] = ()
    host_reads: tuple[Frame, ...] = ()
    host: SymbolicTrace | None = None
    pinned: SymbolicTrace | None = None
    is_cut: bool = False
