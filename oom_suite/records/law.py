"""A law: peak bytes as a maximum of polynomials in the axes; and the contract it is held to."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import comb, prod
from typing import TYPE_CHECKING, Any

from oom_suite.records.libraries import LIBRARIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from oom_suite.records.bound import Bound
    from oom_suite.records.covering import CoveredBy
    from oom_suite.records.frame import Frame

Monomial = tuple[str, ...]
"""The axes of one term, sorted, repeated for powers: ``("num_tokens", "swa_topk")``."""


def _number(value: Fraction) -> str:
    """Every digit where there is an end to them, else the fraction."""
    if value.denominator == 1:
        return str(value.numerator)
    shown = f"{float(value):.15g}"
    return shown if Fraction(shown) == value else f"{value.numerator}/{value.denominator}"


@dataclass(frozen=True, slots=True)
class Polynomial:
    """Bytes as an exact polynomial in the axes. Zero coefficients are not kept.

    Attributes:
        terms: coefficient of each monomial.
        order: the axes in the order that the text names them; alphabetical when empty.
    """

    terms: Mapping[Monomial, Fraction]
    order: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, terms: Mapping[Monomial, int | Fraction], order: Iterable[str] = ()) -> Polynomial:
        """The polynomial with these terms; equal monomials in any axis order are merged."""
        merged: dict[Monomial, Fraction] = {}
        for axes, coefficient in terms.items():
            key = tuple(sorted(axes))
            merged[key] = merged.get(key, Fraction(0)) + Fraction(coefficient)
        return cls({axes: c for axes, c in merged.items() if c}, tuple(order))

    def __call__(self, sizes: Mapping[str, int]) -> Fraction:
        """Its value at these sizes, exactly."""
        whole, broken = 0, Fraction(0)
        for axes, coefficient in self.terms.items():
            factor = prod(sizes[axis] for axis in axes)
            # Almost every coefficient is whole, and integers are ten times as fast.
            if coefficient.denominator == 1:
                whole += coefficient.numerator * factor
            else:
                broken += coefficient * factor
        return whole + broken

    def __sub__(self, other: Polynomial) -> Polynomial:
        terms = dict(self.terms)
        for axes, coefficient in other.terms.items():
            terms[axes] = terms.get(axes, Fraction(0)) - coefficient
        return Polynomial.of(terms, self.order)

    @property
    def axes(self) -> frozenset[str]:
        """Every axis that some term depends on."""
        return frozenset(axis for axes in self.terms for axis in axes)

    @property
    def parts(self) -> tuple[Polynomial, ...]:
        """Its terms, a polynomial each: by degree, then in axis order; a constant last."""
        rank = {axis: position for position, axis in enumerate(self.order)}

        def key(item: tuple[Monomial, Fraction]) -> tuple[object, ...]:
            axes = item[0]
            places = sorted(rank.get(axis, len(rank)) for axis in axes)
            return (not axes, len(axes), places, axes)

        return tuple(
            Polynomial({axes: c}, self.order) for axes, c in sorted(self.terms.items(), key=key)
        )

    def at(self, held: Mapping[str, int]) -> Polynomial:
        """The polynomial in the other axes, with these held at their values."""
        terms: dict[Monomial, Fraction] = {}
        for axes, coefficient in self.terms.items():
            rest = tuple(axis for axis in axes if axis not in held)
            factor = prod(held[axis] for axis in axes if axis in held)
            terms[rest] = terms.get(rest, Fraction(0)) + coefficient * factor
        return Polynomial.of(terms, self.order)

    def slope(self, axis: str, sizes: Mapping[str, int]) -> Fraction:
        """How many bytes one more of that axis adds at these sizes."""
        return self({**sizes, axis: sizes[axis] + 1}) - self(sizes)

    def shifted(self, lower: Mapping[str, int]) -> Polynomial:
        """The same polynomial in ``axis - lower[axis]``, so that its variables start at zero."""
        terms: dict[Monomial, Fraction] = {}
        for axes, coefficient in self.terms.items():
            expansion: dict[Monomial, Fraction] = {(): coefficient}
            for axis in sorted(set(axes)):
                power, low = axes.count(axis), lower.get(axis, 0)
                expansion = {
                    done + (axis,) * k: c * comb(power, k) * low ** (power - k)
                    for done, c in expansion.items()
                    for k in range(power + 1)
                }
            for done, c in expansion.items():
                terms[done] = terms.get(done, Fraction(0)) + c
        return Polynomial.of(terms, self.order)

    def at_most(self, other: Polynomial, lower: Mapping[str, int]) -> bool:
        """Whether it is provably no larger than `other` wherever every axis is at its lower bound.

        Decided term by term after shifting to the lower bounds: sufficient, not necessary.
        """
        return all(c >= 0 for c in (other - self).shifted(lower).terms.values())

    def __str__(self) -> str:
        """``65536*swa_num_blocks + 8*num_tokens``: lowest degree first, a constant last."""
        if not self.terms:
            return "0"
        text = "".join(part._term() for part in self.parts)
        return f"-{text[3:]}" if text.startswith(" - ") else text.removeprefix(" + ")

    def _term(self) -> str:
        """The text of a one-term polynomial, with its sign before it."""
        ((axes, coefficient),) = self.terms.items()
        rank = {axis: position for position, axis in enumerate(self.order)}
        factors = [
            axis if axes.count(axis) == 1 else f"{axis}**{axes.count(axis)}"
            for axis in sorted(set(axes), key=lambda axis: (rank.get(axis, len(rank)), axis))
        ]
        size = abs(coefficient)
        if size != 1 or not factors:
            factors.insert(0, _number(size))
        return f" {'-' if coefficient < 0 else '+'} " + "*".join(factors)


@dataclass(frozen=True, slots=True)
class Law:
    """Peak requested bytes as a maximum of polynomials, no one of which covers another.

    Attributes:
        regimes: the polynomials; the law is their maximum.
        sizes: where it was found; the first regime is the one that wins there.
        held: axes that were not varied; the law speaks for these values of them alone.
        num_runs: exact runs it was fitted to and checked on.
        notes: what the reader must know besides (a branch, an irregular axis), one clause each.
    """

    regimes: tuple[Polynomial, ...]
    sizes: Mapping[str, int]
    held: Mapping[str, int] = field(default_factory=dict)
    num_runs: int = 0
    notes: tuple[str, ...] = ()

    def __call__(self, sizes: Mapping[str, int]) -> int:
        """Peak requested bytes at these sizes."""
        return int(max(regime(sizes) for regime in self.regimes))

    @property
    def here(self) -> Polynomial:
        """The polynomial that is the peak at the scenario."""
        return self.regimes[0]

    @property
    def axes(self) -> frozenset[str]:
        """Every axis that some regime depends on."""
        return frozenset().union(*(regime.axes for regime in self.regimes))

    def growing(self, axes: Iterable[str]) -> tuple[Polynomial, ...]:
        """The regimes that depend on any of these axes, the scenario's own first."""
        wanted = frozenset(axes)
        return tuple(regime for regime in self.regimes if regime.axes & wanted)

    def __str__(self) -> str:
        """``polynomial`` or ``max(polynomial, ...)``."""
        texts = [str(regime) for regime in self.regimes]
        return texts[0] if len(texts) == 1 else f"max({', '.join(texts)})"


@dataclass(frozen=True, slots=True)
class KernelTerm:
    """What the kernels of one operator take beside what dispatch sees, at most.

    Attributes:
        op: the operator.
        where: the line of the code under test that calls it; None where none does.
        at_most: a bound in the axes, which every run kept.
        num_bytes: what they take at the scenario, at most.
        target: whose kernels.
        is_exact: whether they really take it; else some of it is a bound itself.
        libraries: workspaces among it that closed libraries choose.
    """

    op: str
    where: Frame | None
    at_most: Polynomial
    num_bytes: int
    target: str
    is_exact: bool = False
    libraries: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The operator and its line: ``aten::sort at sampler.py:12 (sample)``."""
        return self.op if self.where is None else f"{self.op} at {self.where}"

    def __str__(self) -> str:
        """``at most 16*batch*vocab inside aten::sort at sampler.py:12 (sample), cuda:sm_90``."""
        why = "".join(f"; {one} {LIBRARIES[one]}" for one in self.libraries)
        return f"at most {self.at_most} inside {self.place}, {self.target}{why}"

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "op": self.op,
            "where": "" if self.where is None else str(self.where),
            "at_most": str(self.at_most),
            "bytes": self.num_bytes,
            "target": self.target,
            "is_exact": self.is_exact,
            **({"libraries": list(self.libraries)} if self.libraries else {}),
        }


@dataclass(frozen=True, slots=True)
class Contract:
    """What a workload promises about its peak.

    Attributes:
        independent_of: axes that the peak must not depend on.
        at_most: a bound in the axes that no regime may exceed; None for no bound.
        linear_in: axes that the peak may grow at most linearly with, all of them together: no
            term holds a power of one of them, or a product of two.
        bounded_in: axes that the peak stops to grow with at some size, whichever that is.
        constant_after: axes, each with the size from which on the peak is the same.
        covered_by: what a profile run took, and the sizes that can come later; None for no such
            promise.
    """

    independent_of: tuple[str, ...] = ()
    at_most: Polynomial | Bound | None = None
    linear_in: tuple[str, ...] = ()
    bounded_in: tuple[str, ...] = ()
    constant_after: tuple[tuple[str, int], ...] = ()
    covered_by: CoveredBy | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is promised."""
        return self == Contract()
