"""A law as pieces: polynomials, and the conditions under which their maximum is the peak."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oom_suite.laws.covering.intervals import bounds, holds_over, range_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from oom_suite.laws.branches import Branch
    from oom_suite.laws.covering.intervals import Ranges
    from oom_suite.records import Polynomial
    from oom_suite.records.symbolic import Formula, Quantity


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a peak at some sizes.

    Attributes:
        seen_bytes: the law's bytes, with all of what data may decide.
        most_bytes: those with what kernels take inside, at most.
        formula: the polynomial that gives the first.
        decided: names in it that are no axes, each with its largest value.
    """

    seen_bytes: int
    most_bytes: int
    formula: Polynomial
    decided: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """One law, and where it holds.

    Attributes:
        regimes: polynomials in axes and quantities, the maximum of which is the peak.
        guards: conditions on the axes, all of which are true where it holds.
        held: axes that it speaks of one value of.
        quantities: names in it that are no axes.
        inside: what kernels take beside it, at most, all of them together.
    """

    regimes: tuple[Polynomial, ...]
    guards: tuple[Formula, ...] = ()
    held: Mapping[str, int] = field(default_factory=dict)
    quantities: tuple[Quantity, ...] = ()
    inside: tuple[Polynomial, ...] = ()

    def applies(self, ranges: Ranges) -> bool | None:
        """Whether it holds everywhere in a box, or nowhere; None where that is not known."""
        is_known = True
        for answer in self._answers(ranges):
            if answer is False:
                return False
            is_known = is_known and answer is True
        return True if is_known else None

    def _answers(self, ranges: Ranges) -> Iterator[bool | None]:
        for axis, size in self.held.items():
            if axis in ranges:
                yield _is_one_of(ranges[axis], size)
        for guard in self.guards:
            yield holds_over(guard, ranges)

    @property
    def axes(self) -> frozenset[str]:
        """Every axis that its bytes depend on."""
        own = frozenset().union(*(each.axes for each in (*self.regimes, *self.inside)))
        formulas = (f for q in self.quantities for f in (q.value, *q.at_most) if f is not None)
        return own.union(*(formula.names for formula in formulas))

    def undecided(self, ranges: Ranges) -> frozenset[str]:
        """The axes of what is not known to hold everywhere or nowhere in a box."""
        held = {
            axis
            for axis, size in self.held.items()
            if axis in ranges and _is_one_of(ranges[axis], size) is None
        }
        guards = (g.names for g in self.guards if holds_over(g, ranges) is None)
        return frozenset(held).union(*guards)

    def over(self, ranges: Ranges) -> int | None:
        """What the peak is nowhere above in a box where it holds; None where nothing bounds it."""
        known = self._known(ranges)
        try:
            seen = max(bounds(regime, known)[1] for regime in self.regimes)
            return seen + sum(max(0, bounds(term, known)[1]) for term in self.inside)
        except KeyError:
            return None

    def at(self, sizes: Mapping[str, int]) -> Known | None:
        """The peak at sizes where it holds; None where nothing bounds it there."""
        here = {axis: (size, size) for axis, size in sizes.items()}
        most, known = self.over(here), self._known(here)
        if most is None:
            return None
        formula = max(self.regimes, key=lambda regime: bounds(regime, known)[1])
        decided = {name: known[name][1] for name in formula.axes - sizes.keys()}
        return Known(bounds(formula, known)[1], most, formula, decided)

    def _known(self, ranges: Ranges) -> Ranges:
        """The ranges, with those of the quantities that something bounds."""
        known = dict(ranges)
        for quantity in self.quantities:
            found = _range_of(quantity, known)
            if found is not None:
                known[quantity.name] = found
        return known


def piece_of(branch: Branch, inside: tuple[Polynomial, ...] = ()) -> Piece:
    """A branch of a proof as a piece.

    Args:
        branch: a law with its guards.
        inside: what kernels take beside it, at most.
    """
    axes = branch.trace.hints.sizes.keys()
    return Piece(
        regimes=branch.law.regimes,
        # What a condition says of sizes that data decides is left aside: the law has the worst.
        guards=tuple(g.formula for g in branch.guards if g.formula.names <= axes),
        held=dict(branch.law.held),
        quantities=branch.trace.quantities,
        inside=inside,
    )


def _is_one_of(found: tuple[int, int], size: int) -> bool | None:
    """Whether a range is this size alone, or without it; None where neither."""
    if found == (size, size):
        return True
    return None if found[0] <= size <= found[1] else False


def _range_of(quantity: Quantity, known: Ranges) -> tuple[int, int] | None:
    """What a quantity can be; None where nothing bounds it."""
    if quantity.value is not None:
        return range_of(quantity.value, known) if quantity.value.names <= known.keys() else None
    most = [range_of(bound, known) for bound in quantity.at_most if bound.names <= known.keys()]
    highest = [found[1] for found in most if found is not None]
    return (0, min(highest)) if highest else None
