"""The law of a subject, from exact runs: fitted near the scenario, checked far from it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from oom_suite.laws.fit import Fit, Grid, Regime, fit
from oom_suite.laws.survey import Survey
from oom_suite.records import Law, Polynomial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.laws.sites import Place
    from oom_suite.records import Trace, Workload

_NUM_MIXED_CHECKS = 4
_SEED = 41962
_MAX_ELSEWHERE = 6


@dataclass(frozen=True, slots=True)
class Change:
    """A size at which the law found near the scenario no longer predicts the peak.

    Attributes:
        axis: the axis that was moved.
        value: where to.
        sizes: all sizes there.
        predicted_bytes: what the law says; -1 where it says no whole number.
        actual_bytes: what the exact run gave.
        law: the law found there, around that size.
    """

    axis: str
    value: int
    sizes: Mapping[str, int]
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
    run: Callable[[Mapping[str, int]], Trace], workload: Workload, sizes: Mapping[str, int]
) -> Derivation:
    """The law of what `run` runs.

    Sites are fitted on a grid around the scenario; the maximum of their polynomials must then
    predict, to the byte, runs that were not used: mixed sizes nearby, and each axis at its far
    values. Where a far run disagrees, the law around that size is found too.

    Args:
        run: gives the exact trace at any sizes that the workload can be built with.
        workload: its axes are varied.
        sizes: the scenario.
    """
    survey = Survey(run, sizes)
    grid = Grid(workload, sizes)
    found = fit(survey, grid)
    mismatch = _check_nearby(survey, grid, found, workload)
    law, regimes = _law(found, workload, grid, survey)
    elsewhere = _elsewhere(survey, found, workload)
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
    survey: Survey, found: Fit, workload: Workload
) -> tuple[tuple[Change, tuple[Regime, ...]], ...]:
    """The laws around far sizes that the law near the scenario does not predict."""
    laws: list[tuple[Change, tuple[Regime, ...]]] = []
    for axis, value in [(axis.name, value) for axis in workload.axes for value in axis.far]:
        sizes = workload.settle({**survey.sizes, axis: value})
        if sizes is None or sizes == survey.sizes:
            continue
        actual_bytes = survey.at(sizes).peak().num_bytes
        predicted_bytes = found.peak(sizes)
        if predicted_bytes == actual_bytes and axis not in found.irregular:
            continue
        there = survey.moved(sizes)
        grid = Grid(workload, there.sizes)
        law, regimes = _law(fit(there, grid), workload, grid, there)
        change = Change(axis, value, there.sizes, predicted_bytes, actual_bytes, law)
        laws.append((change, regimes))
        if len(laws) == _MAX_ELSEWHERE:
            break
    return tuple(laws)


def _law(
    found: Fit, workload: Workload, grid: Grid, survey: Survey
) -> tuple[Law, tuple[Regime, ...]]:
    lower = {axis.name: axis.lower for axis in workload.axes}
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


def _check_nearby(survey: Survey, grid: Grid, found: Fit, workload: Workload) -> str:
    """Compare the law with runs at mixed sizes nearby; say where it fails, if it does."""
    chance = random.Random(_SEED)  # noqa: S311 - sizes to try, nothing secret
    for _ in range(_NUM_MIXED_CHECKS):
        index = tuple((axis, chance.randint(1, 3)) for axis in grid.steps)
        point = grid.point(index)
        if not workload.is_valid({**grid.sizes, **point}):
            continue
        predicted_bytes = found.peak({**grid.sizes, **point})
        actual_bytes = survey.at(point).peak().num_bytes
        if predicted_bytes != actual_bytes:
            at = ", ".join(f"{axis}={value}" for axis, value in point.items())
            return f"at {at} it says {predicted_bytes:,} bytes, the run {actual_bytes:,}"
    return ""


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
