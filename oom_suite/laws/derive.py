"""The law of a subject, from exact runs: fitted near the scenario, checked far from it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.laws.bound import Excess, excess
from oom_suite.laws.derivation import Change, Derivation, Violation
from oom_suite.laws.evidence import Survey, allocate_alike, compared, dependences, unseen_growth
from oom_suite.laws.explorer import probes
from oom_suite.laws.fit import Fit, Regime
from oom_suite.laws.grid import Grid
from oom_suite.laws.identified import identified
from oom_suite.laws.lengths import MAX_FAR, Lengths, length, short_starts
from oom_suite.records import Law, Polynomial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.laws.evidence import Dependence
    from oom_suite.laws.proof import Proof
    from oom_suite.records import Trace, Workload

__all__ = ["Change", "Derivation", "derive"]

_MAX_LAWS = 2
"""Laws found elsewhere where only axes that may matter do; each takes some thirty runs."""

_MAX_GUILTY_LAWS = 2
"""Laws found elsewhere because a forbidden axis matters there."""


_PRESS = (2, 4)
"""How many times the size that showed a dependence to go on to."""


def _not_proved() -> None:
    """There is no proof."""


def derive(
    run: Callable[[Mapping[str, int]], Trace],
    workload: Workload,
    sizes: Mapping[str, int],
    proved: Callable[[], Proof | None] = _not_proved,
) -> Derivation:
    """The law of what `run` runs.

    Sites are fitted on a grid around the scenario; their polynomials must then say, to the
    byte, every live sum of runs that were not used: each axis at its far values, and all
    moved at once. Where one does not, the forbidden axes are moved there too, and a law
    around those sizes is found.

    Where the run at the scenario is long because a loop goes over an axis, the law is fitted at a
    few turns of it; it must then say every live sum of the scenario's own run, also with the
    forbidden axes far. One that does not is dropped, and the law is fitted around the scenario.

    Nothing is fitted where there is a proof for all sizes and every exact run that a fitted law
    would be checked on follows it, as `oom_suite.laws.identified` has it.

    Cost: 40 to 60 runs for seven axes where one law holds; more where others are found.

    Args:
        run: gives the exact trace at any sizes that the workload can be built with. A failure
            at a probe is noted; one at the scenario is raised.
        workload: its axes are varied.
        sizes: the scenario.
        proved: gives a proof for all sizes; None where there is none. Asked once, after the run
            at the scenario.

    Raises:
        OomSuiteError: the scenario itself cannot be run.
    """
    survey = Survey(run, sizes)
    first = survey.at({})
    proof = proved()
    known = None if proof is None else identified(survey, workload, proof)
    if known is not None:
        return known
    atlas = _atlas(survey, workload)
    grid = atlas.grid
    atlas.explore()
    excesses = _excesses(atlas, workload)
    again = sizes if length(first) <= MAX_FAR else grid.sizes
    second = survey.again(again)
    forbidden = [a for a in workload.contract.independent_of if a in survey.sizes]
    _press(survey, workload, dependences(survey.runs, forbidden))
    runs = list(survey.runs)
    return Derivation(
        law=replace(atlas.law, num_runs=survey.num_runs),
        regimes=atlas.regimes,
        trace=first,
        elsewhere=tuple(atlas.elsewhere),
        exceptions=tuple(atlas.exceptions),
        irregular=grid.irregular,
        fixed=grid.fixed,
        uneven=grid.uneven,
        compared={axis: compared(runs, axis) for axis in forbidden},
        dependences=dependences(runs, forbidden),
        unseen={a: places for a in forbidden if (places := unseen_growth(runs, a))},
        refused=tuple(survey.refusals),
        violations=_violations(runs, workload),
        excesses=excesses,
        unrecorded=tuple(dict.fromkeys(why for _, trace in runs for why in trace.unrecorded)),
        unsteady=_unsteady(survey.at(again), second),
    )


def _atlas(survey: Survey, workload: Workload) -> Atlas:
    """The law that says all of the scenario's run, fitted at short runs where that one is long."""
    far = {a.name: max(a.far) for a in workload.axes if a.far}
    largest = {axis: far[axis] for axis in workload.contract.independent_of if axis in far}
    checked = dict(survey.sizes), workload.settle({**survey.sizes, **largest})
    for start, made in short_starts(survey, workload):
        moved = {axis for axis, size in start.items() if size != survey.sizes[axis]}
        grid = Grid(survey.moved(start), made)
        if moved <= grid.steps.keys():
            atlas = Atlas(survey, made, grid)
            if all(atlas.says(sizes) for sizes in checked if sizes is not None):
                return atlas
    return Atlas(survey, workload, Grid(survey, workload))


class Atlas:
    """The laws of a subject: one around the scenario, others where that one does not hold.

    Args:
        survey: runs the call; it starts from the scenario.
        workload: its axes are varied.
        grid: the grid around the scenario, or around sizes at which runs are short.
    """

    def __init__(self, survey: Survey, workload: Workload, grid: Grid) -> None:
        self._survey = survey
        self._home = dict(survey.sizes)
        self._lengths = Lengths(survey.moved(grid.sizes), workload)
        self._workload = workload
        self.grid = self._grid = grid
        self._lower = {axis.name: axis.lower for axis in workload.axes}
        forbidden = workload.contract.independent_of
        self._forbidden = {axis: grid.sizes[axis] for axis in forbidden if axis in grid.sizes}
        self._num_guilty = 0
        self._fits = [Fit(grid)]
        self.law, self.regimes = self._law(self._fits[0], grid, self._home)
        self.elsewhere: list[Change] = []
        self.exceptions: list[Mapping[str, int]] = []

    def explore(self) -> None:
        """Check the laws at every probe and at every run that fitting made."""
        fitted = [sizes for sizes, _ in self._survey.runs]
        near = self._lengths.nearer(self._workload, self._home)
        for choices in probes(near, self._grid, self.is_short):
            self.visit(*choices)
        for sizes in fitted:
            # A step that the grid gave up, or a mixed run that takes another branch.
            self.visit(sizes)

    def visit(self, *choices: Mapping[str, int]) -> None:
        """Check the laws at the first of these sizes that can be run; find another if need be."""
        for sizes in choices:
            trace = self._survey.try_at(sizes)
            if trace is not None:
                self._check(sizes, trace)
                return

    def is_short(self, sizes: Mapping[str, int]) -> bool:
        """Whether a run at these sizes takes no time to speak of."""
        return self._lengths.are_within(sizes, self._home)

    def says(self, sizes: Mapping[str, int]) -> bool:
        """Whether the first law says all of the run at these sizes; also where none can be made."""
        trace = self._survey.try_at(sizes)
        return trace is None or self._fits[0].gives_every_sum(sizes, trace)

    def _check(self, sizes: Mapping[str, int], trace: Trace) -> None:
        if self._is_explained(sizes, trace):
            return
        where, there, guilty = sizes, trace, False
        base = {**sizes, **self._forbidden}
        if base != sizes and self._workload.is_valid(base):
            base_trace = self._survey.try_at(base)
            if base_trace is not None:
                guilty = not allocate_alike(trace, base_trace)
                if not guilty or not self._is_explained(base, base_trace):
                    where, there = base, base_trace
        main = self._fits[0]
        if not guilty and main.gives_peak(sizes, trace) and main.gives_peak(where, there):
            return
        num_innocent = len(self.elsewhere) - self._num_guilty
        full = self._num_guilty == _MAX_GUILTY_LAWS if guilty else num_innocent == _MAX_LAWS
        if full or where == self._grid.sizes or self._is_found(where):
            if not main.gives_peak(where, there):
                self.exceptions.append(where)
            return
        self._num_guilty += guilty
        self._chart(where, there)

    def _is_explained(self, sizes: Mapping[str, int], trace: Trace) -> bool:
        return any(fit.gives_every_sum(sizes, trace) for fit in self._fits)

    def _is_found(self, sizes: Mapping[str, int]) -> bool:
        return any(change.law.sizes == sizes for change in self.elsewhere)

    def _chart(self, sizes: Mapping[str, int], trace: Trace) -> None:
        """Find the law around these sizes."""
        grid = Grid(self._survey.moved(sizes), self._workload, hold=self._grid.irregular)
        found = Fit(grid)
        law, regimes = self._law(found, grid, grid.sizes)
        moved = {axis: v for axis, v in sizes.items() if v != self._home[axis]}
        predicted_bytes = self._fits[0].peak(sizes)
        actual_bytes = trace.peak().num_bytes
        self._fits.append(found)
        self.elsewhere.append(Change(moved, predicted_bytes, actual_bytes, law, regimes))

    def _law(
        self, found: Fit, grid: Grid, sizes: Mapping[str, int]
    ) -> tuple[Law, tuple[Regime, ...]]:
        """The law that a grid gave, as it is at these sizes."""
        kept = sorted(found.regimes(self._lower), key=lambda r: -r.polynomial(sizes))
        own = {axis.name: axis.step for axis in self._workload.axes}
        notes = [
            *grid.uneven.values(),
            *(f"held at {a}={grid.sizes[a]:,}: {why}" for a, why in grid.irregular.items()),
            *(f"held at {a}={grid.sizes[a]:,}: {why}" for a, why in grid.fixed.items()),
            *(
                f"holds for every {abs(step)}th {axis} from {grid.sizes[axis]:,}"
                for axis, step in grid.steps.items()
                if abs(step) > own[axis]
            ),
        ]
        law = Law(
            regimes=tuple(regime.polynomial for regime in kept) or (Polynomial({}),),
            sizes=dict(sizes),
            held={name: size for name, size in grid.sizes.items() if name not in grid.steps},
            num_runs=self._survey.num_runs,
            notes=tuple(notes),
        )
        return law, tuple(kept)


def _excesses(atlas: Atlas, workload: Workload) -> tuple[Excess, ...]:
    """The regimes not provably within the bound, each run where it should be over it.

    Those that a forbidden axis is in are left out: they break the contract anyway.
    """
    found: list[Excess] = []
    forbidden = frozenset(workload.contract.independent_of)
    laws = [(atlas.law, atlas.regimes), *((c.law, c.regimes) for c in atlas.elsewhere)]
    for law, regimes in laws:
        for regime in regimes:
            if regime.polynomial.axes & forbidden:
                continue
            over = excess(regime, law.held, workload, law.sizes)
            if over is None:
                continue
            is_run = over.sizes is not None and over.runnable and atlas.is_short(over.sizes)
            found.append(replace(over, runnable=is_run))
            if over.sizes is not None and is_run:
                atlas.visit(over.sizes)
    return tuple(found)


def _press(survey: Survey, workload: Workload, shown: Sequence[Dependence]) -> None:
    """Run still larger sizes where one step up below the peak does not tell growth from a branch.

    What a large pool opens once stays as it is (indices cast to a wider type); growth goes on.
    """
    if not shown or shown[0].reaches_peak or shown[0].num_rises != 1:
        return
    for factor in _PRESS:
        larger = {axis: factor * shown[0].after[axis] for axis in shown[0].axes}
        sizes = {**shown[0].after, **larger}
        if workload.is_valid(sizes):
            survey.try_at(sizes)


def _violations(
    runs: Sequence[tuple[Mapping[str, int], Trace]], workload: Workload
) -> tuple[Violation, ...]:
    bound = workload.contract.at_most
    if bound is None:
        return ()
    found = [
        Violation(sizes, peak_bytes, int(bound(sizes)), trace)
        for sizes, trace in runs
        if (peak_bytes := trace.peak().num_bytes) > bound(sizes)
    ]
    return tuple(sorted(found, key=lambda violation: violation.peak_bytes))


def _unsteady(first: Trace, second: Trace | None) -> str:
    if second is None or allocate_alike(first, second):
        return ""
    return (
        f"the same sizes gave {first.peak().num_bytes:,} bytes first and "
        f"{second.peak().num_bytes:,} later"
    )
