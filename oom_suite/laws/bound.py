"""Where a law could exceed a contract's bound: proofs that it does not, sizes at which it may."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, product
from typing import TYPE_CHECKING

from oom_suite.records import Bound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from oom_suite.laws.fit import Regime
    from oom_suite.records import Polynomial, Workload

_MAX_DOUBLINGS = 24
_RUNNABLE = 16
"""How many times its largest far value an axis may have in a run made to test the bound."""


@dataclass(frozen=True, slots=True)
class Excess:
    """A regime that no term-by-term proof keeps under the bound.

    Attributes:
        regime: the regime.
        limit: the bound, at the values of the axes that the regime's law holds.
        sizes: sizes at which the regime's polynomial is over it; None where none was found.
        runnable: whether those sizes are near enough to what is run anyway.
    """

    regime: Regime
    limit: Bound
    sizes: Mapping[str, int] | None
    runnable: bool = False


def excess(
    regime: Regime, held: Mapping[str, int], workload: Workload, sizes: Mapping[str, int]
) -> Excess | None:
    """How a regime may exceed the workload's bound; None where it provably does not.

    Args:
        regime: one polynomial of a law.
        held: the axes that this law speaks for one value of.
        workload: its contract has the bound.
        sizes: where the law was found.
    """
    bound = workload.contract.at_most
    if bound is None:
        return None
    formula, limit = regime.polynomial, Bound.of(bound).at(held)
    if limit.covers(formula, {axis.name: axis.lower for axis in workload.axes}):
        return None
    overs = [formula - each for each in limit.polynomials]
    for point in chain.from_iterable(_candidates(o, workload, sizes, held) for o in overs):
        if formula(point) > limit(point):
            runnable = all(
                point[axis.name] <= _RUNNABLE * max((*axis.far, sizes[axis.name]))
                for axis in workload.axes
            )
            return Excess(regime, limit, point, runnable)
    return Excess(regime, limit, None)


def _candidates(
    over: Polynomial, workload: Workload, sizes: Mapping[str, int], held: Mapping[str, int]
) -> Iterator[dict[str, int]]:
    """Sizes to try, the ordinary ones first: corners, then ever larger along each rising term.

    Along one term's axes, doubled together with the others small, any excess of a higher
    degree shows in the end.
    """
    axes = [axis for axis in workload.axes if axis.name in over.axes and axis.name not in held]
    ranges = {axis.name: (sizes[axis.name], *axis.far) for axis in axes}
    small = {name: min(values) for name, values in ranges.items()}
    large = {name: max(values) for name, values in ranges.items()}
    names = list(ranges)
    corners = [sorted({small[name], sizes[name], large[name]}) for name in names]
    for chosen in product(*corners):
        yield from _settled(workload, {**sizes, **dict(zip(names, chosen, strict=True))})
    for monomial, coefficient in over.terms.items():
        rising = set(monomial)
        for doublings in range(1, _MAX_DOUBLINGS + 1 if coefficient > 0 else 1):
            grown = {axis: large[axis] << doublings for axis in rising}
            yield from _settled(workload, {**sizes, **small, **grown})


def _settled(workload: Workload, sizes: Mapping[str, int]) -> Iterator[dict[str, int]]:
    point = workload.settle(sizes)
    if point is not None:
        yield dict(point)
