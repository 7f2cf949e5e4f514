"""The law of a subject, from exact runs: fitted near the scenario, checked far from it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from oom_suite.laws.fit import Fit, Grid, Regime, fit
from oom_suite.laws.survey import Survey
from oom_suite.records import Axis, Law, Polynomial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.laws.sites import Place
    from oom_suite.records import Trace

_NUM_MIXED_CHECKS = 4
_SEED = 41962
_MAX_ELSEWHERE = 6


@dataclass(frozen=True, slots=True)
class Change:
    """A size at which the law found near the scenario no longer predicts the peak.

    Attributes:
        axis: the axis that was moved.
        value: where to.
        predicted_bytes: what the law says; -1 where it says no whole number.
        actual_bytes: what the exact run gave.
        law: the law found there, around that size.
    """

    axis: str
    value: int
    predicted_bytes: int
    actual_bytes: int
    law: Law


@dataclass(frozen=True, slots=True)
class Derivation:
    """A law and the evidence for it.

    Attributes:
        law: the law near the scenario, regimes that another covers left out.
        regimes: its regimes, the scenario's own first, with what is alive in each.
        trace: the run at the scenario.
        elsewhere: sizes far away where another law holds, with that law's regimes.
        irregular: axes along which no polynomial fits near the scenario, each with why.
        unseen: for each axis, operators with unseen scratch whose input grows with it.
        mismatch: why the law is not exact even near the scenario; empty when it is.
    """

    law: Law
    regimes: tuple[Regime, ...]
    trace: Trace
    elsewhere: tuple[tuple[Change, tuple[Regime, ...]], ...] = ()
    irregular: Mapping[str, str] = field(default_factory=dict)
    unseen: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)
    mismatch: str = ""


def derive(
    run: Callable[[Mapping[str, int]], Trace],
    axes: Sequence[Axis],
    sizes: Mapping[str, int],
    is_valid: Callable[[Mapping[str, int]], bool],
) -> Derivation:
    """The law of what `run` runs.

    Sites are fitted on a grid around the scenario; the maximum of their polynomials must then
    predict, to the byte, runs that were not used: mixed sizes nearby, and each axis at its far
    values. Where a far run disagrees, the law around that size is found too.

    Args:
        run: gives the exact trace at any valid sizes.
        axes: the axes to vary.
        sizes: the scenario.
        is_valid: whether a combination of sizes can be built.
    """
    survey = Survey(run, sizes)
    grid = Grid(axes, sizes, is_valid)
    found = fit(survey, grid)
    mismatch = _check_nearby(survey, grid, found)
    law, regimes = _law(found, axes, grid, survey)
    elsewhere = _elsewhere(survey, grid, found, axes)
    return Derivation(
        law=replace(law, num_runs=survey.num_runs),
        regimes=regimes,
        trace=survey.at({}),
        elsewhere=elsewhere,
        irregular=found.irregular,
        unseen=_unseen_growth(survey, grid),
        mismatch=mismatch,
    )


def _elsewhere(
    survey: Survey, grid: Grid, found: Fit, axes: Sequence[Axis]
) -> tuple[tuple[Change, tuple[Regime, ...]], ...]:
    """The laws around far sizes that the law near the scenario does not predict."""
    laws: list[tuple[Change, tuple[Regime, ...]]] = []
    for axis, value in _far_points(axes, survey.sizes, grid.is_valid):
        actual_bytes = survey.at({axis.name: value}).peak().num_bytes
        predicted_bytes = found.peak({**survey.sizes, axis.name: value})
        if predicted_bytes == actual_bytes and axis.name not in found.irregular:
            continue
        there = survey.moved({axis.name: value})
        others = Grid(axes, there.sizes, grid.is_valid)
        law, regimes = _law(fit(there, others), axes, others, there)
        laws.append((Change(axis.name, value, predicted_bytes, actual_bytes, law), regimes))
        if len(laws) == _MAX_ELSEWHERE:
            break
    return tuple(laws)


def _law(
    found: Fit, axes: Sequence[Axis], grid: Grid, survey: Survey
) -> tuple[Law, tuple[Regime, ...]]:
    lower = {axis.name: axis.lower for axis in axes}
    kept = _undominated(found.regimes, lower)
    kept = tuple(sorted(kept, key=lambda regime: -regime.polynomial(grid.sizes)))
    notes = tuple(
        f"held at {axis}={grid.sizes[axis]}: {why}" for axis, why in found.irregular.items()
    )
    law = Law(
        regimes=tuple(regime.polynomial for regime in kept) or (Polynomial({}),),
        sizes=grid.sizes,
        held={name: size for name, size in grid.sizes.items() if name not in grid.steps},
        num_runs=survey.num_runs,
        notes=notes,
    )
    return law, kept


def _undominated(regimes: Sequence[Regime], lower: Mapping[str, int]) -> tuple[Regime, ...]:
    """The regimes that no other one covers for all sizes; of equal ones, the first."""
    distinct: dict[frozenset[object], Regime] = {}
    for regime in regimes:
        distinct.setdefault(frozenset(regime.polynomial.terms.items()), regime)
    kept = list(distinct.values())
    for regime in list(kept):
        if any(
            other is not regime and regime.polynomial.at_most(other.polynomial, lower)
            for other in kept
        ):
            kept.remove(regime)
    return tuple(kept)


def _check_nearby(survey: Survey, grid: Grid, found: Fit) -> str:
    """Compare the law with runs at mixed sizes nearby; say where it fails, if it does."""
    chance = random.Random(_SEED)  # noqa: S311 - sizes to try, nothing secret
    for _ in range(_NUM_MIXED_CHECKS):
        index = tuple((axis, chance.randint(1, 3)) for axis in grid.steps)
        point = grid.point(index)
        if not grid.is_valid({**grid.sizes, **point}):
            continue
        predicted_bytes = found.peak({**grid.sizes, **point})
        actual_bytes = survey.at(point).peak().num_bytes
        if predicted_bytes != actual_bytes:
            at = ", ".join(f"{axis}={value}" for axis, value in point.items())
            return f"at {at} it says {predicted_bytes:,} bytes, the run {actual_bytes:,}"
    return ""


def _far_points(
    axes: Sequence[Axis],
    sizes: Mapping[str, int],
    is_valid: Callable[[Mapping[str, int]], bool],
) -> list[tuple[Axis, int]]:
    return [
        (axis, value)
        for axis in axes
        for value in axis.far
        if value != sizes[axis.name] and is_valid({**sizes, axis.name: value})
    ]


def _unseen_growth(survey: Survey, grid: Grid) -> dict[str, tuple[Place, ...]]:
    """For each axis, the operators with unseen scratch that are given more bytes along it."""
    growing: dict[str, tuple[Place, ...]] = {}
    before = {(u.op, u.stack): u.input_bytes for u in survey.at({}).unseen}
    for axis in grid.steps:
        after = {(u.op, u.stack): u.input_bytes for u in survey.at(grid.point(((axis, 1),))).unseen}
        places = tuple(p for p, size in after.items() if size != before.get(p))
        if places:
            growing[axis] = places
    return growing
