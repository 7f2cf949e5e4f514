"""The law in closed form, from symbolic runs: exact for every size that takes their branches."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from oom_suite.laws.dominance import undominated
from oom_suite.laws.fit import Regime
from oom_suite.records import Law, Polynomial

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from oom_suite.laws.sites import Place, Site
    from oom_suite.records import Frame
    from oom_suite.records.law import Monomial
    from oom_suite.records.symbolic import SymbolicTrace

    Live = tuple[tuple[Site, Polynomial], ...]


@dataclass(frozen=True, slots=True)
class TermLines:
    """One term of a regime, and the lines whose requests make it up.

    Attributes:
        term: the term.
        lines: each line with its part of the term, the largest first.
    """

    term: Polynomial
    lines: tuple[tuple[Frame, Polynomial], ...]


def closed_form(trace: SymbolicTrace) -> tuple[Law, tuple[Regime, ...]]:
    """The maximum of the live sums that no other covers, and what is alive in each.

    Cost: the number of distinct live sums times the number of regimes.
    """
    hints = trace.hints
    order = tuple(hints.sizes)
    lower = {**dict.fromkeys(order, 1), **hints.lower}
    values = _hint_values(trace)
    sums = _live_sums(trace, order)
    kept = [sums[place] for place in undominated([polynomial for polynomial, _ in sums], lower)]
    kept.sort(key=lambda item: -item[0](values))
    sites = _sites(trace)
    regimes = tuple(
        Regime(polynomial, sites[trace.events[at][1]], _alive(trace, at, sites))
        for polynomial, at in kept
    )
    held = {axis: size for axis, size in hints.sizes.items() if axis in hints.held}
    held |= {axis: size for axis, (size, _) in trace.specialised.items()}
    law = Law(
        regimes=tuple(regime.polynomial for regime in regimes) or (Polynomial({}, order),),
        sizes=dict(hints.sizes),
        held=held,
        num_runs=1,
        notes=tuple(str(quantity) for quantity in trace.quantities if quantity.value is None),
    )
    return law, regimes


def term_lines(regime: Regime) -> tuple[TermLines, ...]:
    """Every term of a regime's polynomial with the lines that make it, in the text's order."""
    parts: dict[Monomial, dict[Frame, Fraction]] = defaultdict(dict)
    for ((_, stack), _), held in regime.live:
        for monomial, coefficient in held.terms.items():
            if stack:
                made = parts[monomial]
                made[stack[0]] = made.get(stack[0], Fraction(0)) + coefficient
    found = []
    for term in regime.polynomial.parts:
        ((monomial, _),) = term.terms.items()
        lines = tuple(
            (frame, Polynomial.of({monomial: coefficient}, regime.polynomial.order))
            for frame, coefficient in sorted(parts[monomial].items(), key=lambda item: -item[1])
        )
        found.append(TermLines(term, lines))
    return tuple(found)


def covers(
    one: Iterable[Polynomial], other: Sequence[Polynomial], lower: Mapping[str, int]
) -> bool:
    """Whether the maximum of `one` is provably at least that of `other`, everywhere."""
    upper = list(one)
    return all(any(each.at_most(bound, lower) for bound in upper) for each in other)


def same_law(one: Law, other: Law, lower: Mapping[str, int]) -> bool:
    """Whether two laws provably agree wherever the sizes that either holds are so.

    Args:
        one: a law.
        other: another.
        lower: the smallest value of each axis; of quantities, 0 is taken.
    """
    held = {**one.held, **other.held}
    first = [regime.at(held) for regime in one.regimes]
    second = [regime.at(held) for regime in other.regimes]
    return covers(first, second, lower) and covers(second, first, lower)


def _hint_values(trace: SymbolicTrace) -> dict[str, int]:
    """A value for every name in the trace, for ordering alone."""
    values = dict(trace.hints.sizes)
    for quantity in trace.quantities:
        formulas = quantity.at_most if quantity.value is None else (quantity.value,)
        found = [int(formula(values)) for formula in formulas if formula.names <= values.keys()]
        values[quantity.name] = min(found, default=0)
    return values


def _live_sums(trace: SymbolicTrace, order: tuple[str, ...]) -> list[tuple[Polynomial, int]]:
    """Every distinct live sum right after a request, with the event that first reaches it."""
    found: dict[frozenset[tuple[Monomial, Fraction]], tuple[Polynomial, int]] = {}
    live: dict[Monomial, Fraction] = {}
    for at, (kind, number) in enumerate(trace.events):
        sign = 1 if kind == "alloc" else -1
        for monomial, coefficient in trace.allocations[number].requested.terms.items():
            live[monomial] = live.get(monomial, Fraction(0)) + sign * coefficient
            if not live[monomial]:
                del live[monomial]
        key = frozenset(live.items())
        if sign == 1 and key not in found:
            found[key] = (Polynomial.of(live, order), at)
    return list(found.values())


def _sites(trace: SymbolicTrace) -> list[Site]:
    """The site of every allocation, in order."""
    seen: Counter[Place] = Counter()
    names: list[Site] = []
    for allocation in trace.allocations:
        place = (allocation.op, allocation.stack)
        names.append((place, seen[place]))
        seen[place] += 1
    return names


def _alive(trace: SymbolicTrace, last: int, sites: Sequence[Site]) -> Live:
    """What is alive just after that event, in the order of its requests."""
    live: dict[int, None] = {}
    for kind, number in trace.events[: last + 1]:
        if kind == "alloc":
            live[number] = None
        else:
            del live[number]
    return tuple((sites[number], trace.allocations[number].requested) for number in live)
