"""The polynomials of every site, fitted exactly to runs on a small grid around a scenario."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from oom_suite.laws.differences import below, difference, polynomial
from oom_suite.laws.dominance import undominated
from oom_suite.laws.grid import MAX_DEGREE, uneven_sites
from oom_suite.laws.sites import ALL, alive_with, counts, merged_places, sheet, without

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.laws.differences import Index
    from oom_suite.laws.grid import Grid
    from oom_suite.laws.sites import Sheet, Site
    from oom_suite.records import Polynomial, Trace


@dataclass(frozen=True, slots=True)
class Regime:
    """One polynomial of a law, and what is alive where it is the peak.

    Attributes:
        polynomial: the live sum, in bytes.
        site: the allocation that reaches it.
        live: the sites alive then, each with the bytes it holds as a polynomial.
    """

    polynomial: Polynomial
    site: Site
    live: tuple[tuple[Site, Polynomial], ...]


class Fit:
    """What the grid gave: for every site of the scenario, its live sum as a polynomial.

    Only axes that meet in one request (or in what a loop keeps) can multiply, so mixed runs
    are made for those combinations alone. A mixed run that cannot be made, or that lacks a
    site, gives no term; the checks of `derive` tell whether one is missing.

    What follows no polynomial and stays below the peak has none, and is checked to stay there.

    Cost: the grid's own runs, and one for each combination of axes and steps that meets.
    Source: Newton's interpolation on lower sets of multi-indices (de Boor and Ron, "On
    multivariate polynomial interpolation", 1990); see docs/decisions/0003.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        lines = [index for axis in grid.steps for index in grid.line(axis)]
        self._traces = _traces(grid, [(), *lines])
        merged = merged_places(self._traces.values())
        table = {index: sheet(trace, merged) for index, trace in self._traces.items()}
        self._indices = self._usable(_indices(table, list(grid.steps)))
        # Mixed runs can show a place to be a loop that the lines alone do not.
        self._merged = merged_places(self._traces.values())
        self._places = counts(self._traces[()])
        table = {index: sheet(trace, self._merged) for index, trace in self._traces.items()}
        along = [[table[i] for i in grid.line(axis)] for axis in grid.steps if axis in grid.uneven]
        self._uneven = frozenset(site for sheets in along for site in uneven_sites(sheets))
        self.live: dict[Site, Polynomial] = {
            site: self._solve({index: table[index].live[site] for index in self._traces})
            for site in table[()].live
            if site not in self._uneven
        }

    def peak(self, sizes: Mapping[str, int]) -> int:
        """The peak that the polynomials say; -1 where it is not a whole number of bytes."""
        value = max((live(sizes) for live in self.live.values()), default=0)
        return int(value) if value == int(value) else -1

    def gives_peak(self, sizes: Mapping[str, int], trace: Trace) -> bool:
        """Whether the polynomials give this run's peak, to the byte."""
        return self.peak(sizes) == trace.peak().num_bytes

    def gives_every_sum(self, sizes: Mapping[str, int], trace: Trace) -> bool:
        """Whether they give every live sum of this run, also those below its peak."""
        tally = counts(trace)
        if tally.keys() != self._places.keys():
            return False
        if any(tally[p] != n for p, n in self._places.items() if p not in self._merged):
            return False
        live = sheet(trace, self._merged).live
        if any(live[site] > self.peak(sizes) for site in self._uneven):
            return False
        return all(live[site] == polynomial(sizes) for site, polynomial in self.live.items())

    def regimes(self, lower: Mapping[str, int]) -> tuple[Regime, ...]:
        """The polynomials that no other one covers for all sizes; of equal ones, the first.

        Args:
            lower: the smallest value of each axis.
        """
        distinct: dict[frozenset[object], Site] = {}
        for site, live in self.live.items():
            distinct.setdefault(frozenset(live.terms.items()), site)
        sites = list(distinct.values())
        kept = [sites[place] for place in undominated([self.live[site] for site in sites], lower)]
        return tuple(Regime(self.live[site], site, self._alive(site)) for site in kept)

    def _alive(self, site: Site) -> tuple[tuple[Site, Polynomial], ...]:
        """What every site holds where this one reaches its largest live sum."""
        table = {i: alive_with(trace, self._merged, site) for i, trace in self._traces.items()}
        names = dict.fromkeys(name for alive in table.values() for name in alive)
        return tuple(
            (name, self._solve({index: alive[name] for index, alive in table.items()}))
            for name in names
        )

    def _solve(self, values: Mapping[Index, int]) -> Polynomial:
        return polynomial(values, [(), *self._indices], self._grid.sizes, self._grid.steps)

    def _usable(self, wanted: Sequence[Index]) -> list[Index]:
        """The terms whose runs can all be made and have every site of the scenario."""
        places = counts(self._traces[()]).keys()
        bad: set[Index] = set()
        for index in sorted({point for term in wanted for point in below(term)}, key=len):
            if index in self._traces:
                continue
            trace = self._grid.trace(index)
            if trace is None or not places <= counts(trace).keys():
                bad.add(index)
            else:
                # A branch that only this corner opens is no part of the scenario's law.
                self._traces[index] = without(trace, counts(trace).keys() - places)
        return [index for index in wanted if bad.isdisjoint(below(index))]


def _traces(grid: Grid, points: Sequence[Index]) -> dict[Index, Trace]:
    """The runs at these grid points, all of which are known to run."""
    found = {index: grid.trace(index) for index in dict.fromkeys(points)}
    return {index: trace for index, trace in found.items() if trace is not None}


def _indices(table: Mapping[Index, Sheet], axes: Sequence[str]) -> list[Index]:
    """Every term that a live sum can have: products of the axes that meet in one site."""
    wanted: set[Index] = set()
    for site in table[()].own:
        degrees = {axis: _degree(table, site, axis) for axis in axes}
        active = sorted(axis for axis, degree in degrees.items() if degree)
        for length in range(1, len(active) + 1):
            for chosen in combinations(active, length):
                highest: Index = tuple((axis, degrees[axis]) for axis in chosen)
                wanted.update(point for point in below(highest) if point)
    # Live sums of loops can depend on an axis that nothing they hold does.
    wanted.update(((axis, k),) for axis in axes for k in range(1, MAX_DEGREE + 1))
    return sorted(wanted, key=lambda index: (len(index), index))


def _degree(table: Mapping[Index, Sheet], site: Site, axis: str) -> int:
    """The power of an axis in what one site asks for or holds."""
    columns = [{i: row.held[site] for i, row in table.items()}]
    if site[1] == ALL:
        columns.append({i: row.own[site] for i, row in table.items()})
    for degree in range(MAX_DEGREE, 0, -1):
        index: Index = ((axis, degree),)
        if any(difference(column, index) for column in columns):
            return degree
    return 0
