"""How long runs are, and sizes that keep them short: a loop over an axis is run for a few turns.

A run costs what its operators cost. Where their number follows an axis, a law is fitted at a few
of that axis and must then say every live sum of the run at the sizes that were asked about; and
the sizes that nobody named, far beyond those, are taken nearer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.laws.sites import counts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from oom_suite.laws.evidence import Survey
    from oom_suite.records import Axis, Trace, Workload

LONG = 600
"""Operators of a run; where there are more, a law is fitted to shorter ones."""

MAX_FAR = 10_000
"""Operators, at most, of a run at sizes that nobody named, one axis moved."""

MAX_MIXED = 2_500
"""The same, several axes moved at once: there are many such runs."""

_SHORTER = 0.75
"""What a run must be cut to by an axis for that to be one that a loop goes over."""

_ENOUGH = LONG // 4
"""Operators of a run that need not be made shorter still."""

FEW = 4
"""Turns of a loop that tell its law: a polynomial of degree two has three differences."""

_NEARER = (16, 8, 4, 2)
"""How many times the scenario's size an axis is set to where its far values take too long."""


def length(trace: Trace) -> int:
    """How long a run is: its operators, or its requests where nobody counted those."""
    return max(trace.num_operators, len(trace.allocations))


class Lengths:
    """How long runs would be, told from those that were made.

    Args:
        survey: has the runs; where it starts from is one of them.
        workload: its axes are varied.
    """

    def __init__(self, survey: Survey, workload: Workload) -> None:
        self._survey = survey
        self._axes = [axis.name for axis in workload.axes]

    def at(self, sizes: Mapping[str, int]) -> float:
        """Operators of a run at these sizes: as many as there were, or as one would expect.

        What each axis alone makes of the run at the start is multiplied, as in nested loops.
        """
        start = self._survey.sizes
        known = {tuple(sorted(at.items())): length(trace) for at, trace in self._survey.runs}
        exact = known.get(tuple(sorted(sizes.items())))
        if exact is not None:
            return exact
        here = max(1, known[tuple(sorted(start.items()))])
        expected = float(here)
        for axis in self._axes:
            if sizes[axis] == start[axis]:
                continue
            points = {
                dict(at)[axis]: number
                for at, number in known.items()
                if all(size == start[name] for name, size in at if name != axis)
            }
            expected *= max(1.0, _extrapolated(points, sizes[axis])) / here
        return expected

    def are_within(self, sizes: Mapping[str, int], home: Mapping[str, int]) -> bool:
        """Whether a run at these sizes is short enough to be made though nobody named them."""
        num_moved = sum(sizes[axis] != home[axis] for axis in self._axes)
        return self.at(sizes) <= (MAX_FAR if num_moved <= 1 else MAX_MIXED)

    def nearer(self, workload: Workload, home: Mapping[str, int]) -> Workload:
        """The workload with far values that no run takes too long at, but for those declared."""
        axes = tuple(self._nearer(axis, home) for axis in workload.axes)
        return replace(workload, axes=axes)

    def _nearer(self, axis: Axis, home: Mapping[str, int]) -> Axis:
        named = {*axis.declared, home[axis.name], axis.lower}

        def is_short(value: int) -> bool:
            return self.at({**self._survey.sizes, axis.name: value}) <= MAX_FAR

        kept = [value for value in axis.far if value in named or is_short(value)]
        if len(kept) == len(axis.far):
            return axis
        multiples = (factor * home[axis.name] for factor in _NEARER)
        if max(kept, default=0) <= home[axis.name]:
            kept += [value for value in multiples if is_short(value)][:1]
        return replace(axis, far=tuple(kept))


def short_starts(survey: Survey, workload: Workload) -> Iterator[tuple[dict[str, int], Workload]]:
    """Sizes at which runs are short, where the one at the survey's own sizes is long.

    First a few of each axis that makes runs longer; then a few steps of it, for code that needs
    its multiples. Each comes with the workload whose steps suit it.

    Cost: one run for each axis, as long as no shorter start is found.
    """
    if length(survey.at({})) <= LONG:
        return
    tried = [survey.sizes]
    places = counts(survey.at({})).keys()
    for is_stepped in (False, True):
        start, made = _shortened(survey, workload, is_stepped=is_stepped)
        # What does not allocate all that the long run does cannot tell its law.
        if start not in tried and counts(survey.at(start)).keys() == places:
            yield start, made
        tried.append(start)


def _shortened(
    survey: Survey, workload: Workload, *, is_stepped: bool
) -> tuple[dict[str, int], Workload]:
    """The survey's sizes with those axes small that make its run long, and their steps."""
    sizes, shortest = dict(survey.sizes), length(survey.at({}))
    steps: dict[str, int] = {}
    for axis in workload.axes:
        step = axis.step if is_stepped else 1
        value = max(axis.lower, FEW * step)
        wish = {**sizes, axis.name: value}
        if shortest <= _ENOUGH or 2 * value > sizes[axis.name] or not workload.is_valid(wish):
            continue
        trace = survey.try_at(wish)
        if trace is not None and length(trace) <= _SHORTER * shortest:
            sizes, shortest = wish, length(trace)
            steps[axis.name] = step
    axes = tuple(replace(axis, step=steps.get(axis.name, axis.step)) for axis in workload.axes)
    return sizes, replace(workload, axes=axes)


def _extrapolated(points: Mapping[int, int], value: int) -> float:
    """What the parabola through the first, the last and a middle point says; a line through two."""
    chosen: Sequence[int] = sorted(points)
    if len(chosen) > 3:
        chosen = (chosen[0], chosen[len(chosen) // 2], chosen[-1])
    if len(chosen) == 1:
        return points[chosen[0]]
    first, second = chosen[:2]
    slope = (points[second] - points[first]) / (second - first)
    found = points[first] + slope * (value - first)
    if len(chosen) == 3:
        third = chosen[2]
        other = (points[third] - points[second]) / (third - second)
        found += (other - slope) / (third - first) * (value - first) * (value - second)
    return found
