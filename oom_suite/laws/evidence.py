"""The exact runs behind a fitted law, and a survey of how each site behaves over them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError
from oom_suite.laws.sites import merged_places, sheet, unseen_inputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from oom_suite.laws.sites import Place, Sheet, Site
    from oom_suite.records import Trace

    Run = tuple[Mapping[str, int], Trace]
    from collections.abc import Callable, Mapping

    Key = tuple[tuple[str, int], ...]


_NUM_ALIKE = 2
"""Values of an axis, at least, from which on nothing may change for it to be clipped below them."""


def unclipped(shown: Sequence[Dependence]) -> tuple[Dependence, ...]:
    """The dependences but those on there being fewer things than the code asks for.

    One series along the axis has to show that nothing changes with more of them.
    """
    clipped = {each.axes for each in shown if each.num_alike >= _NUM_ALIKE}
    return tuple(each for each in shown if not (each.num_alike and each.axes in clipped))


@dataclass(frozen=True, slots=True)
class Dependence:
    """Two runs that differ in forbidden axes alone and do not allocate alike.

    Attributes:
        axes: the axes that differ.
        before: sizes of the one run.
        after: sizes of the other, larger in those axes.
        before_bytes: peak of the one.
        after_bytes: peak of the other.
        sites: the sites that hold different bytes, with how many before and after.
        num_rises: how often some site's bytes rise from one value of the axis to the next.
        num_alike: how many values give equal runs where only the least one differs, with the
            same requests, smaller: fewer rows than the code asks for are there, as in
            ``cache[:3]`` of one row. 0 where it is not so.
    """

    axes: tuple[str, ...]
    before: Mapping[str, int]
    after: Mapping[str, int]
    before_bytes: int
    after_bytes: int
    sites: tuple[tuple[Site, int, int], ...]
    num_rises: int
    num_alike: int = 0

    @property
    def reaches_peak(self) -> bool:
        """Whether the peak itself differs."""
        return self.before_bytes != self.after_bytes


def dependences(runs: Iterable[Run], forbidden: Sequence[str]) -> tuple[Dependence, ...]:
    """Every series of runs along a forbidden axis that do not all allocate alike.

    Those whose peak differs come first, then those that rise most often.

    Cost: linear in the runs' events.
    """
    listed = list(runs)
    found = [
        shown
        for axis in forbidden
        for series in _series(listed, axis)
        if (shown := _compare((axis,), series)) is not None
    ]
    if not found:
        # Code can look at the smaller of two pools: then only moving both together shows it.
        for group in _groups(listed, forbidden):
            series = sorted(group, key=lambda run: [run[0][axis] for axis in forbidden])
            first, last = series[0][0], series[-1][0]
            axes = tuple(axis for axis in forbidden if first[axis] != last[axis])
            if axes and (shown := _compare(axes, series)) is not None:
                found.append(shown)
    return tuple(sorted(found, key=lambda shown: (not shown.reaches_peak, -shown.num_rises)))


def compared(runs: Iterable[Run], axis: str) -> tuple[int, ...]:
    """The values of an axis that runs were compared at, all else the same."""
    values = {sizes[axis] for series in _series(list(runs), axis) for sizes, _ in series}
    return tuple(sorted(values))


def unseen_growth(runs: Iterable[Run], axis: str) -> tuple[Place, ...]:
    """The operators with unseen scratch that are given other bytes along this axis alone."""
    places: dict[Place, None] = {}
    for series in _series(list(runs), axis):
        inputs = [unseen_inputs(trace) for _, trace in series]
        for place in dict.fromkeys(place for given in inputs for place in given):
            if len({given.get(place, 0) for given in inputs}) > 1:
                places[place] = None
    return tuple(places)


def allocate_alike(one: Trace, other: Trace) -> bool:
    """Whether two runs have the same sites with the same bytes."""
    merged = merged_places([one, other])
    return sheet(one, merged) == sheet(other, merged)


def _groups(runs: Sequence[Run], axes: Sequence[str]) -> Iterator[list[Run]]:
    """Runs that differ in these axes alone, where there are at least two."""
    groups: dict[tuple[tuple[str, int], ...], list[Run]] = defaultdict(list)
    for sizes, trace in runs:
        rest = tuple(sorted(item for item in sizes.items() if item[0] not in axes))
        groups[rest].append((sizes, trace))
    return (group for group in groups.values() if len(group) > 1)


def _series(runs: Sequence[Run], axis: str) -> Iterator[list[Run]]:
    for group in _groups(runs, (axis,)):
        yield sorted(group, key=lambda run: run[0][axis])


def _compare(axes: tuple[str, ...], series: Sequence[Run]) -> Dependence | None:
    """What changes along a series; None where nothing does."""
    merged = merged_places([trace for _, trace in series])
    sheets = [sheet(trace, merged) for _, trace in series]
    if all(each == sheets[0] for each in sheets):
        return None
    sites = dict.fromkeys(site for each in sheets for site in each.held)
    num_rises = max(
        sum(low.held.get(site, 0) < high.held.get(site, 0) for low, high in pairwise(sheets))
        for site in sites
    )
    one = 0
    # The run that differs most from the first, in its peak or else below it.
    other = max(
        range(len(series)),
        key=lambda i: (
            abs(sheets[i].peak - sheets[one].peak),
            sum(abs(sheets[i].held.get(s, 0) - sheets[one].held.get(s, 0)) for s in sites),
            sum(abs(sheets[i].live.get(s, 0) - sheets[one].live.get(s, 0)) for s in sites),
        ),
    )
    changed = tuple(
        (site, sheets[one].held.get(site, 0), sheets[other].held.get(site, 0))
        for site in sites
        if sheets[one].held.get(site, 0) != sheets[other].held.get(site, 0)
    )
    before, after = series[one][0], series[other][0]
    return Dependence(
        axes,
        before,
        after,
        sheets[one].peak,
        sheets[other].peak,
        changed,
        num_rises,
        _num_alike(sheets) if len(axes) == 1 else 0,
    )


def _num_alike(sheets: Sequence[Sheet]) -> int:
    """How many are equal, if all but the first are, which has the same sites with fewer bytes."""
    least, *rest = sheets
    if any(each != rest[0] for each in rest) or least.held.keys() != rest[0].held.keys():
        return 0
    is_less = all(size <= rest[0].held[site] for site, size in least.held.items())
    return len(rest) if is_less else 0


class Survey:
    """Runs a call at sizes around a scenario and far from it.

    A run that fails at a probe is kept as a refusal, with its message, and nothing that was
    measured is lost; only the scenario itself must run.
    """

    def __init__(self, run: Callable[[Mapping[str, int]], Trace], sizes: Mapping[str, int]) -> None:
        self._run = run
        self.sizes = dict(sizes)
        self._traces: dict[Key, Trace] = {}
        self._refusals: dict[Key, OomSuiteError] = {}

    @property
    def num_runs(self) -> int:
        """How many runs gave a trace."""
        return len(self._traces)

    @property
    def runs(self) -> Iterator[tuple[dict[str, int], Trace]]:
        """Every run made so far: its sizes and its trace."""
        return ((dict(key), trace) for key, trace in self._traces.items())

    @property
    def refusals(self) -> list[tuple[dict[str, int], str]]:
        """Every probe that could not be run: its sizes and why."""
        return [(dict(key), str(error)) for key, error in self._refusals.items()]

    def moved(self, sizes: Mapping[str, int]) -> Survey:
        """A survey of the same call that starts from other sizes and knows the same runs."""
        survey = Survey(self._run, {**self.sizes, **sizes})
        survey._traces = self._traces
        survey._refusals = self._refusals
        return survey

    def at(self, changes: Mapping[str, int]) -> Trace:
        """The trace at the scenario's sizes with these changed.

        Raises:
            OomSuiteError: the call cannot be run there.
        """
        sizes = {**self.sizes, **changes}
        key = tuple(sorted(sizes.items()))
        if key in self._refusals:
            raise self._refusals[key]
        if key not in self._traces:
            try:
                self._traces[key] = self._run(sizes)
            except OomSuiteError as error:
                self._refusals[key] = error
                raise
        return self._traces[key]

    def try_at(self, changes: Mapping[str, int]) -> Trace | None:
        """The trace at the scenario's sizes with these changed; None where it cannot be run."""
        try:
            return self.at(changes)
        except OomSuiteError:
            return None

    def why_refused(self, changes: Mapping[str, int]) -> str:
        """Why the call cannot be run there; empty where it can or was not tried."""
        key = tuple(sorted({**self.sizes, **changes}.items()))
        return str(self._refusals.get(key, ""))

    def again(self, sizes: Mapping[str, int]) -> Trace | None:
        """A second run at these sizes, after all the others; None where it now fails."""
        try:
            return self._run(dict(sizes))
        except OomSuiteError:
            return None
