"""The polynomials of every site, fitted exactly to runs on a small grid around a scenario."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from oom_suite.laws.differences import below, difference, polynomial
from oom_suite.laws.sites import site_names
from oom_suite.records import Polynomial

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from oom_suite.laws.differences import Index
    from oom_suite.laws.sites import Sheet, Site
    from oom_suite.laws.survey import Survey
    from oom_suite.records import Workload

_MAX_DEGREE = 2
"""Highest power of one axis that a law may have; a higher one makes the axis irregular."""


@dataclass(frozen=True, slots=True)
class Regime:
    """One polynomial of a law, and what is alive where it is the peak.

    Attributes:
        polynomial: the live sum, in bytes.
        site: the allocation that reaches it.
        live: the sites alive then, each with its own request as a polynomial.
    """

    polynomial: Polynomial
    site: Site
    live: tuple[tuple[Site, Polynomial], ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """What the grid gave.

    Attributes:
        regimes: one for every site, none left out yet.
        irregular: axes along which no polynomial of low degree fits, each with why.
    """

    regimes: tuple[Regime, ...]
    irregular: Mapping[str, str]

    def peak(self, sizes: Mapping[str, int]) -> int:
        """The peak that the regimes predict; -1 where it is not a whole number of bytes."""
        value = max((regime.polynomial(sizes) for regime in self.regimes), default=0)
        return int(value) if value == int(value) else -1


class Grid:
    """The sizes that a law is fitted to: a few steps from the scenario along each axis.

    Args:
        workload: its axes are varied; one steps downwards where it cannot step upwards, and is
            left out where it can do neither.
        sizes: the scenario's sizes.
    """

    def __init__(self, workload: Workload, sizes: Mapping[str, int]) -> None:
        """Choose a step for every axis."""
        self.sizes = dict(sizes)
        self.steps: dict[str, int] = {}
        self.fixed: list[str] = []
        for axis in workload.axes:
            for step in (axis.step, -axis.step, 1, -1):
                reach = {**sizes, axis.name: sizes[axis.name] + (_MAX_DEGREE + 1) * step}
                if reach[axis.name] >= axis.lower and workload.is_valid(reach):
                    self.steps[axis.name] = step
                    break
            else:
                self.fixed.append(axis.name)

    def without(self, axes: Iterable[str]) -> None:
        """Leave these axes at the scenario's value."""
        for axis in axes:
            del self.steps[axis]
            self.fixed.append(axis)

    def point(self, index: Index) -> dict[str, int]:
        """The sizes that a grid point changes."""
        return {axis: self.sizes[axis] + k * self.steps[axis] for axis, k in index}


def fit(survey: Survey, grid: Grid) -> Fit:
    """Every site's live sum as an exact polynomial in the grid's axes.

    One run for each axis and step finds which sites depend on which axes. Only axes that meet
    in one request can multiply, so mixed runs are made for those combinations alone.

    Cost: ``1 + 3 * axes`` runs and one for each combination of axes that meets in a request.
    """
    lines: dict[str, list[Index]] = {
        axis: [((axis, k),) for k in range(1, _MAX_DEGREE + 2)] for axis in grid.steps
    }
    points: list[Index] = [(), *(index for line in lines.values() for index in line)]
    table, _ = _tabulate(survey, grid, points)
    irregular = {axis: why for axis in grid.steps if (why := _irregular(table, axis))}
    grid.without(irregular)

    degrees = {axis: _degree(table, axis) for axis in grid.steps}
    indices = _indices(table, degrees)
    points = [(), *dict.fromkeys(point for index in indices for point in below(index))]
    table, merged = _tabulate(survey, grid, list(dict.fromkeys(points)))
    common = [
        site for site in table[()].live if all(site in row.live for row in table.values())
    ]

    def solve(values: Mapping[Index, int]) -> Polynomial:
        return polynomial(values, [(), *indices], grid.sizes, grid.steps)

    own = {site: solve({p: row.own[site] for p, row in table.items()}) for site in common}
    trace = survey.at({})
    names = site_names(trace, merged)
    reached = _where_reached(survey, names)
    return Fit(
        regimes=tuple(
            Regime(
                polynomial=solve({p: row.live[site] for p, row in table.items()}),
                site=site,
                live=tuple((names[i], own[names[i]]) for i in reached[site] if names[i] in own),
            )
            for site in common
        ),
        irregular=irregular,
    )


def _tabulate(
    survey: Survey, grid: Grid, points: Sequence[Index]
) -> tuple[dict[Index, Sheet], set[tuple[str, tuple[object, ...]]]]:
    sheets, merged = survey.sheets(grid.point(index) for index in points)
    return dict(zip(points, sheets, strict=True)), merged  # type: ignore[return-value]


def _values(table: Mapping[Index, Sheet], axis: str) -> Iterable[dict[Index, int]]:
    """For every site, its live sums and then its requests along one axis."""
    line: list[Index] = [(), *(((axis, k),) for k in range(1, _MAX_DEGREE + 2))]
    for site in table[()].live:
        if all(site in table[index].live for index in line):
            yield {index: table[index].live[site] for index in line}
            yield {index: table[index].own[site] for index in line}


def _irregular(table: Mapping[Index, Sheet], axis: str) -> str:
    """Why no polynomial fits along this axis; empty when one does."""
    cubic: Index = ((axis, _MAX_DEGREE + 1),)
    if any(difference(values, cubic) for values in _values(table, axis)):
        return "its bytes are no polynomial of it"
    return ""


def _degree(table: Mapping[Index, Sheet], axis: str) -> int:
    for degree in range(_MAX_DEGREE, 0, -1):
        index: Index = ((axis, degree),)
        if any(difference(values, index) for values in _values(table, axis)):
            return degree
    return 0


def _indices(table: Mapping[Index, Sheet], degrees: Mapping[str, int]) -> list[Index]:
    """Every term a live sum can have: products of the axes that one request depends on."""
    wanted: set[Index] = set()
    for site, size in table[()].own.items():
        active = sorted(
            axis
            for axis in degrees
            if any(table[((axis, k),)].own.get(site, size) != size for k in (1, _MAX_DEGREE))
        )
        for length in range(1, len(active) + 1):
            for chosen in combinations(active, length):
                highest: Index = tuple((axis, degrees[axis]) for axis in chosen)
                wanted.update(point for point in below(highest) if point)
    # Live sums of merged sites can depend on an axis that no single request of them does.
    wanted.update(((axis, k),) for axis, top in degrees.items() for k in range(1, top + 1))
    return sorted(wanted, key=lambda index: (len(index), index))


def _where_reached(survey: Survey, names: Sequence[Site]) -> dict[Site, tuple[int, ...]]:
    """For every site, the allocations alive where it reaches its largest live sum."""
    trace = survey.at({})
    best: dict[Site, tuple[int, int]] = {}
    live_bytes = 0
    for position, event in enumerate(trace.events):
        size = trace.allocations[event.allocation].requested_bytes
        if event.kind == "free":
            live_bytes -= size
            continue
        live_bytes += size
        name = names[event.allocation]
        if name not in best or live_bytes > best[name][0]:
            best[name] = (live_bytes, position)
    return {name: trace.live_after(position) for name, (_, position) in best.items()}
