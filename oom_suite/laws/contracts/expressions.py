"""Reads `4*num_tokens*topk*1KiB + 64MiB`: its tokens, and the polynomial they make."""

from __future__ import annotations

import ast
import functools
import operator
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from oom_suite.errors import UsageError, unknown
from oom_suite.laws.contracts.lattice import combined, larger
from oom_suite.records import Bound, Polynomial
from oom_suite.units import parse_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from oom_suite.laws.contracts.lattice import Rows
    from oom_suite.records.law import Monomial


MAX_CHARACTERS = 20_000
"""Longer text is refused: a law of a hundred long terms has some 6,000 characters."""

EXAMPLE = "4*num_tokens*topk*1KiB + 64MiB"

_MAX_SHOWN = 80

_UNIT = re.compile(r"[KMGTPkmgtp]?i?[Bb]")
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<number>(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+(?![A-Za-z]))?)
    | (?P<name>[^\W\d]\w*)
    | (?P<operator>\*\*|[-+*/(),])
    | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One word of an expression: a number of bytes or a count, an axis, or an operator."""

    kind: str
    text: str


def shown(text: str) -> str:
    """The text in quotes, on one line and cut where it is long."""
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")


def tokens(text: str, what: str, axes: Collection[str]) -> list[Token]:
    """The words of the text; ``64 MiB`` is one, the number 67108864.

    Args:
        text: the expression.
        what: what it is, for messages: ``"bound"``.
        axes: names that are sizes; one that could be a unit is an axis where it stands alone.

    Raises:
        UsageError: a character that no expression has, a unit that is none of ours (``GB``),
            or no text at all.
    """
    if not text.strip():
        msg = f"the {what} is empty: write sums and products such as {EXAMPLE}"
        raise UsageError(msg)
    if len(text) > MAX_CHARACTERS:
        msg = f"the {what} has {len(text):,} characters: at most {MAX_CHARACTERS:,} are read"
        raise UsageError(msg)
    return list(_with_amounts(list(_words(text, what)), text, what, axes))


def _words(text: str, what: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(text):
        kind, word = str(match.lastgroup), match[0]
        if kind == "other":
            seen = "text in quotes" if word in "\"'" else repr(word)
            msg = f"{what} {shown(text)} has {seen}: write sums and products such as {EXAMPLE}"
            raise UsageError(msg)
        yield Token(kind, word)


def _with_amounts(
    words: list[Token], text: str, what: str, axes: Collection[str]
) -> Iterator[Token]:
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        if word.kind == "space":
            continue
        if word.kind != "number":
            yield word
            continue
        spaced = place < len(words) and words[place].kind == "space"
        after = words[place + spaced] if place + spaced < len(words) else Token("end", "")
        is_unit = after.kind == "name" and after.text not in axes
        if is_unit and (not spaced or _UNIT.fullmatch(after.text)):
            place += 1 + spaced
            yield Token("number", str(_amount(word.text + after.text, text, what)))
        else:
            yield word


def _amount(amount: str, text: str, what: str) -> int:
    try:
        return parse_bytes(amount.replace("_", ""))
    except UsageError as error:
        msg = f"{what} {shown(text)}: {error}"
        raise UsageError(msg) from None


MAX_DEGREE = 12
"""Highest degree of a term; sizes multiplied more often than this are a mistake."""

MAX_TERMS = 2_000
"""Most terms that an expression may have once its parentheses are multiplied out."""

MAX_PARTS = 64
"""Most polynomials that a bound may be the least and the largest of."""

Terms = dict["Monomial", Fraction]


def parse_bound(text: str, axes: Sequence[str]) -> Polynomial | Bound:
    """The bound that an expression such as ``4*num_tokens*topk*1KiB + 64MiB`` says, in bytes.

    Sums and products of axes, whole numbers and amounts (``64MiB``, ``1.5 KiB``), parentheses,
    small powers (``num_tokens**2``), ``min(...)`` and ``max(...)`` of these. Nothing can be taken
    away, so that no bound is negative.

    Args:
        text: the expression. ``GB`` and other decimal units are refused.
        axes: the sizes that it may name, in the order that its text names them.

    Raises:
        UsageError: the text is something else; one line says what, and what to write.
    """
    rows = _parse(text, axes, "bound", bound=True)
    found = Bound(tuple(tuple(Polynomial.of(terms, axes) for terms in row) for row in rows))
    return found.polynomials[0] if len(found.polynomials) == 1 else found


def parse_polynomial(text: str, axes: Sequence[str]) -> Polynomial:
    """The polynomial whose text this is: everything that ``str(Polynomial)`` can give.

    Beside what a bound may say: differences, decimal numbers, fractions such as ``1/3``.

    Raises:
        UsageError: the text is not that of a polynomial in these axes.
    """
    ((terms,),) = _parse(text, axes, "law", bound=False)
    return Polynomial.of(terms, axes)


def _parse(text: str, axes: Sequence[str], what: str, *, bound: bool) -> Rows:
    words = [word.text for word in tokens(text, what, axes)]
    try:
        # A space between two words keeps them apart; underscores group digits for people alone.
        tree = ast.parse(" ".join(words), mode="eval")
        return _Reader(text, axes, what, bound=bound).rows(tree.body)
    except (SyntaxError, ValueError):
        msg = f"{what} {shown(text)} cannot be read: write sums and products such as {EXAMPLE}"
        raise UsageError(msg) from None
    except (RecursionError, MemoryError):
        msg = f"{what} {shown(text)} is nested too deeply: write it out as a sum of products"
        raise UsageError(msg) from None


def _plus(left: Terms, right: Terms) -> Terms:
    keys = dict.fromkeys((*left, *right))
    return {key: left.get(key, Fraction(0)) + right.get(key, Fraction(0)) for key in keys}


class _Reader:
    """Multiplies out one expression."""

    def __init__(self, text: str, axes: Sequence[str], what: str, *, bound: bool) -> None:
        self._text = text
        self._axes = axes
        self._what = what
        self._bound = bound

    def rows(self, node: ast.expr) -> Rows:
        """The polynomials of a node: the least of several, each the largest of its row."""
        if not self._bound or not any(isinstance(each, ast.Call) for each in ast.walk(node)):
            return ((self.read(node),),)
        parts: list[ast.expr]
        join: Callable[[Rows, Rows], Rows]
        match node:
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                parts, join = [left, right], self._sum_of
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                parts, join = [left, right], self._product
            case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int() as power)) if (
                1 <= power <= MAX_DEGREE
            ):
                parts, join = [left] * power, self._product
            case ast.Call(func=ast.Name(id="min"), args=[_, _, *_], keywords=[]):
                parts, join = node.args, operator.add
            case ast.Call(func=ast.Name(id="max"), args=[_, _, *_], keywords=[]):
                parts, join = node.args, larger
            case _:
                return ((self.read(node),),)
        return functools.reduce(functools.partial(self._joined, join), map(self.rows, parts))

    def _sum_of(self, one: Rows, other: Rows) -> Rows:
        return combined(one, other, _plus)

    def _product(self, one: Rows, other: Rows) -> Rows:
        return combined(one, other, self._times)

    def _joined(self, join: Callable[[Rows, Rows], Rows], one: Rows, other: Rows) -> Rows:
        found = join(one, other)
        if sum(map(len, found)) > MAX_PARTS:
            raise self._refusal(
                f"has more than {MAX_PARTS} formulas once min and max are multiplied out",
                "write fewer of them",
            )
        return found

    def read(self, node: ast.expr) -> Terms:
        """The terms of a node."""
        match node:
            case ast.BinOp(left=left, op=op, right=right):
                return self._operation(node, left, op, right)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                self._refuse_minus()
                return {axes: -c for axes, c in self.read(operand).items()}
            case ast.Constant(value=int() | float() as value):
                return {(): self._number(node, value)}
            case ast.Name(id=name):
                return self._axis(name)
        if isinstance(node, ast.Call):
            raise self._refusal("calls something", self._instead_of(node))
        raise self._refusal("has something else than + and *", f"write it like {EXAMPLE}")

    def _instead_of(self, call: ast.Call) -> str:
        if self._bound and ast.unparse(call.func) in {"min", "max"}:
            return "min and max take two amounts or more, such as min(num_tokens, 1024)*1KiB"
        return "write the sum or product itself"

    def _operation(
        self, node: ast.BinOp, left: ast.expr, op: ast.operator, right: ast.expr
    ) -> Terms:
        match op:
            case ast.Add() | ast.Sub():
                return self._sum(node)
            case ast.Mult():
                return self._times(self.read(left), self.read(right))
            case ast.Pow():
                return self._power(self.read(left), right)
            case ast.Div():
                return self._ratio(left, right)
        raise self._refusal("has something else than + and *", f"write it like {EXAMPLE}")

    def _sum(self, node: ast.expr) -> Terms:
        """A sum from its left, in a loop: a law of many terms is a deep tree to the left."""
        terms: list[tuple[int, ast.expr]] = []
        while isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
            if isinstance(node.op, ast.Sub):
                self._refuse_minus()
            terms.append((-1 if isinstance(node.op, ast.Sub) else 1, node.right))
            node = node.left
        total = dict(self.read(node))
        for sign, term in reversed(terms):
            for axes, coefficient in self.read(term).items():
                total[axes] = total.get(axes, Fraction(0)) + sign * coefficient
        return total

    def _times(self, left: Terms, right: Terms) -> Terms:
        product: Terms = {}
        for axes, coefficient in left.items():
            for others, factor in right.items():
                key = tuple(sorted(axes + others))
                if len(key) > MAX_DEGREE:
                    raise self._refusal(
                        f"multiplies {len(key)} sizes", f"at most {MAX_DEGREE} are read"
                    )
                product[key] = product.get(key, Fraction(0)) + coefficient * factor
        if len(product) > MAX_TERMS:
            raise self._refusal(f"has {len(product):,} terms", f"at most {MAX_TERMS:,} are read")
        return product

    def _power(self, base: Terms, exponent: ast.expr) -> Terms:
        power = exponent.value if isinstance(exponent, ast.Constant) else None
        if not isinstance(power, int) or not 1 <= power <= MAX_DEGREE:
            seen = ast.unparse(exponent)
            raise self._refusal(
                f"has the power {seen}", f"a power is a whole number, 1 to {MAX_DEGREE}"
            )
        raised: Terms = {(): Fraction(1)}
        for _ in range(power):
            raised = self._times(raised, base)
        return raised

    def _ratio(self, left: ast.expr, right: ast.expr) -> Terms:
        if self._bound:
            raise self._refusal("divides", f"write sums and products such as {EXAMPLE}")
        below = self.read(right)
        if set(below) != {()} or not below[()]:
            raise self._refusal(f"divides by {ast.unparse(right)}", "only by a number other than 0")
        return self._times(self.read(left), {(): 1 / below[()]})

    def _number(self, node: ast.expr, value: complex) -> Fraction:
        if isinstance(value, int):
            return Fraction(value)
        if self._bound:
            raise self._refusal(
                f"has {value!r}", "write a whole number, or an amount such as 1.5KiB"
            )
        return Fraction(ast.unparse(node))

    def _axis(self, name: str) -> Terms:
        if name in self._axes:
            return {(name,): Fraction(1)}
        if not self._axes:
            raise self._refusal(f"names {name!r}", "this workload has no axis")
        msg = f"{self._what} {shown(self._text)}: {unknown('axis', name, self._axes)}"
        raise UsageError(msg)

    def _refuse_minus(self) -> None:
        if self._bound:
            raise self._refusal(
                "takes something away", "a bound is not negative, write it without -"
            )

    def _refusal(self, seen: str, instead: str) -> UsageError:
        return UsageError(f"{self._what} {shown(self._text)} {seen}: {instead}")
