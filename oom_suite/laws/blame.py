"""The source lines that hold the bytes a verdict speaks of, largest first."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from oom_suite.laws.breach import regime_at
from oom_suite.laws.sites import alive_with
from oom_suite.records import Blame, Polynomial

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from fractions import Fraction

    from oom_suite.laws.derivation import Derivation, Violation
    from oom_suite.laws.evidence import Dependence
    from oom_suite.laws.fit import Regime
    from oom_suite.laws.sites import Site
    from oom_suite.records import Law

    Row = tuple[Site, str, float, float]

_MAX_DOUBLINGS = 60

_SHARE = 8
"""A line is blamed for a broken bound when it holds this part of the peak or more."""


def blame_regime(
    regime: Regime, slopes: Mapping[str, Fraction], sizes: Mapping[str, int]
) -> tuple[Blame, ...]:
    """The lines alive in that regime whose bytes grow with those axes."""
    return _lines(
        (
            (site, axis, float(held(sizes)), float(held.slope(axis, sizes)))
            for site, held in regime.live
            for axis in slopes
            if axis in held.axes
        ),
        sizes,
    )


def blame_dependence(shown: Dependence) -> tuple[Blame, ...]:
    """The lines that hold different bytes in two runs, with the mean slope between them."""
    axis = shown.axes[0]
    distance = shown.after[axis] - shown.before[axis]
    rising = [each for each in shown.sites if each[2] >= each[1]]
    falling = [each for each in shown.sites if each[2] < each[1]]
    # The most that a line holds it holds at the larger sizes, unless it shrinks.
    lines = [
        line
        for sizes, sites in ((shown.after, rising), (shown.before, falling))
        for line in _lines(
            (
                (site, axis, max(before, after), (after - before) / distance)
                for site, before, after in sites
            ),
            sizes,
        )
    ]
    return tuple(sorted(lines, key=lambda blame: -blame.bytes))


def blame_terms(
    regime: Regime, terms: Sequence[Polynomial], sizes: Mapping[str, int]
) -> tuple[Blame, ...]:
    """The lines alive in that regime whose bytes are part of these terms, by their main axis."""
    rows: list[Row] = []
    for site, held in regime.live:
        for term in terms:
            (monomial,) = term.terms
            part = Polynomial.of({monomial: held.terms.get(monomial, 0)}, held.order)
            if part(sizes) > 0:
                axis, slope = next(iter(steepest(part, sizes).items()), ("call", 0))
                rows.append(
                    (site, axis, float(held(sizes)), float(held.slope(axis, sizes) if slope else 0))
                )
                break
    return _lines(rows, sizes)


def blame_excess(regime: Regime, sizes: Mapping[str, int]) -> tuple[Blame, ...]:
    """The lines that hold the most where a regime is over its bound, each by its own main axis."""
    whole = regime.polynomial(sizes)
    common = next(iter(steepest(regime.polynomial, sizes)), "")
    rows: list[Row] = []
    polynomials = dict(regime.live)
    for site in _holders({one: float(held(sizes)) for one, held in polynomials.items()}, whole):
        held = polynomials[site]
        axis, slope = next(iter(steepest(held, sizes).items()), (common, 0))
        rows.append((site, axis, float(held(sizes)), float(slope)))
    return _lines(rows, sizes)


def _holders(held: Mapping[Site, float], whole: float | Fraction) -> tuple[Site, ...]:
    """The sites of the lines that hold enough of the peak, however often each was passed."""

    def line(site: Site) -> object:
        (_, stack), _ = site
        return (stack[0].file, stack[0].line) if stack else site

    of_line: dict[object, float] = {}
    for site, num_bytes in held.items():
        of_line[line(site)] = of_line.get(line(site), 0) + num_bytes
    return tuple(site for site in held if of_line[line(site)] * _SHARE >= whole)


def blame_run(violation: Violation, derivation: Derivation) -> tuple[Blame, ...]:
    """The lines that hold the most at the peak of a run over its bound.

    Where no law says which axis a line grows with, it is the one moved furthest.
    """
    sizes, start = violation.sizes, derivation.law.sizes
    exact = regime_at(derivation, violation)
    if exact is not None:
        return blame_excess(exact, sizes)
    axis = max(sizes, key=lambda a: sizes[a] / start[a])
    peak = violation.trace.peak()
    last = violation.trace.events[peak.event].allocation
    reached = (violation.trace.allocations[last].site, -1)
    merged = frozenset(a.site for a in violation.trace.allocations)
    alive = alive_with(violation.trace, merged, reached)
    return _lines(
        (
            (site, axis, alive[site], alive[site] / sizes[axis])
            for site in _holders(alive, peak.num_bytes)
        ),
        sizes,
    )


def steepest(polynomial: Polynomial, sizes: Mapping[str, int]) -> dict[str, Fraction]:
    """The axis that most of a polynomial's bytes come from, and its slope; none of a constant."""
    slopes = {axis: polynomial.slope(axis, sizes) for axis in sorted(polynomial.axes)}
    if not slopes:
        return {}
    axis = max(slopes, key=lambda each: slopes[each] * sizes[each])
    return {axis: slopes[axis]}


def crossing(law: Law, guilty: Polynomial, axis: str) -> int | None:
    """The smallest size of an axis from which that regime is the law; None where never."""

    def wins(size: int) -> bool:
        sizes = {**law.sizes, axis: size}
        return guilty(sizes) >= max(regime(sizes) for regime in law.regimes)

    low, high = 0, 1
    for _ in range(_MAX_DOUBLINGS):
        if wins(high):
            break
        low, high = high, high * 2
    else:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if wins(middle) else (middle, high)
    return high


def _lines(rows: Iterable[Row], sizes: Mapping[str, int]) -> tuple[Blame, ...]:
    """The rows by source line and axis; what no line of the code under test made is left out."""
    total: Counter[tuple[str, int, str, str]] = Counter()
    each: dict[tuple[str, int, str, str], float] = {}
    for ((_, stack), _), axis, num_bytes, per_unit in rows:
        if not stack:
            continue
        key = (stack[0].file, stack[0].line, stack[0].function, axis)
        total[key] += int(num_bytes)
        each[key] = each.get(key, 0.0) + per_unit
    lines = [
        Blame(file, line, function, total[key], axis, per_unit, dict(sizes))
        for key, per_unit in each.items()
        for file, line, function, axis in (key,)
    ]
    return tuple(sorted(lines, key=lambda blame: -blame.bytes))
