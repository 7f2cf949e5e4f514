"""The grid of sizes that a law is fitted to: a few steps from the scenario along each axis."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from oom_suite.laws.differences import difference
from oom_suite.laws.sites import counts, merged_places, sheet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from oom_suite.laws.differences import Index
    from oom_suite.laws.evidence import Survey
    from oom_suite.laws.sites import Place, Sheet, Site
    from oom_suite.records import Axis, Trace, Workload

MAX_DEGREE = 2
"""Highest power of one axis that a law may have; a higher one makes the axis irregular."""

_MULTIPLES = (1, 2, 4, 8, 16)
"""How often an axis's step is taken where the step itself cannot be run or fits nothing.

Code that asserts ``num_heads % 16 == 0`` or pads to a multiple of 128 is regular in larger steps.
"""


class Grid:
    """Steps along the axes, chosen so that every site's bytes are a polynomial of each.

    Cost: three runs for each axis that is regular at its own step; up to twenty for one that
    refuses or fits nothing.

    Args:
        survey: runs the call.
        workload: its axes are varied.
        hold: axes to leave at the scenario's value, each with why.

    Attributes:
        sizes: where it starts from.
        steps: distance of one step along each axis that is varied; negative goes down.
        irregular: axes that were varied and fit no polynomial, each with why.
        fixed: axes that could not be varied, each with why.
        uneven: axes along which the peak is a polynomial and something below it is not, each
            with a line that says so.
    """

    def __init__(
        self, survey: Survey, workload: Workload, hold: Mapping[str, str] | None = None
    ) -> None:
        self.sizes = dict(survey.sizes)
        self.steps: dict[str, int] = {}
        self.irregular: dict[str, str] = dict(hold or {})
        self.fixed: dict[str, str] = {}
        self.uneven: dict[str, str] = {}
        self._survey = survey
        self._workload = workload
        for axis in workload.axes:
            if axis.name not in self.irregular:
                self._choose(axis)
        self._settle_together()

    def point(self, index: Index) -> dict[str, int]:
        """The sizes that a grid point changes."""
        return {axis: self.sizes[axis] + k * self.steps[axis] for axis, k in index}

    def trace(self, index: Index) -> Trace | None:
        """The run at a grid point; None where it cannot be built or run."""
        point = self.point(index)
        if not self._workload.is_valid({**self.sizes, **point}):
            return None
        return self._survey.try_at(point)

    def line(self, axis: str) -> list[Index]:
        """The grid points along one axis, the origin first."""
        return [(), *(((axis, k),) for k in range(1, MAX_DEGREE + 2))]

    def _choose(self, axis: Axis) -> None:
        """Take the first step that fits a polynomial; else the first, if the peak does in all."""
        why = refused = ""
        ran: set[int] = set()
        below: list[tuple[int, str]] = []
        for step in self._reachable(axis):
            values = [self.sizes[axis.name] + k * step for k in range(MAX_DEGREE + 2)]
            if (-step in ran and step != -axis.step) or (why and abs(step) < axis.step):
                # It ran the other way: as many runs this way would tell little more.
                continue
            traces, message = self._along(axis.name, values)
            if message:
                refused = refused or message
                continue
            ran.add(step)
            broken = _irregular(axis.name, values, traces)
            if not broken:
                self.steps[axis.name] = step
                return
            why = why or broken
            below.append((step, _below_the_peak(axis.name, values, traces)))
        if below and all(uneven for _, uneven in below):
            self.steps[axis.name], self.uneven[axis.name] = below[0]
        elif why:
            self.irregular[axis.name] = why
        else:
            self.fixed[axis.name] = refused or "no other size of it can be built"

    def _reachable(self, axis: Axis) -> Iterator[int]:
        """The steps to try whose three points can be built, nearest first."""
        tried: set[int] = set()
        steps = [sign * multiple * axis.step for multiple in _MULTIPLES for sign in (1, -1)]
        if self._can_reach(axis, axis.step):
            # What is flat just below and jumps just above is a padding: larger steps tell more.
            steps.remove(-axis.step)
            steps.append(-axis.step)
        for step in (*steps, 1, -1):
            if step not in tried and self._can_reach(axis, step):
                yield step
            tried.add(step)

    def _can_reach(self, axis: Axis, step: int) -> bool:
        """Whether the three points of a step can be built."""
        ends = [self.sizes[axis.name] + k * step for k in range(1, MAX_DEGREE + 2)]
        return all(
            end >= axis.lower and self._workload.is_valid({**self.sizes, axis.name: end})
            for end in ends
        )

    def _along(self, axis: str, values: Sequence[int]) -> tuple[list[Trace], str]:
        """The runs at these values of an axis; or none of them, and why one cannot be had."""
        traces: list[Trace] = []
        for value in values:
            trace = self._survey.try_at({axis: value})
            if trace is None:
                message = self._survey.why_refused({axis: value})
                return [], f"at {axis}={value:,}: {message}"
            traces.append(trace)
        return traces, ""

    def _settle_together(self) -> None:
        """Leave out axes that are regular alone and not among the others.

        A place that one axis makes a loop is one site for all axes, and the maximum over a
        loop can break where each turn of it is smooth.
        """
        while True:
            lines = {axis: [self._run(i) for i in self.line(axis)] for axis in self.steps}
            merged = merged_places([trace for line in lines.values() for trace in line])
            for axis, traces in lines.items():
                values = [self.sizes[axis] + k * self.steps[axis] for k in range(len(traces))]
                why = _irregular(axis, values, traces, merged)
                below = _below_the_peak(axis, values, traces, merged) if why else ""
                if below:
                    self.uneven.setdefault(axis, below)
                elif why:
                    del self.steps[axis]
                    self.uneven.pop(axis, None)
                    self.irregular[axis] = why
                    break
            else:
                return

    def _run(self, index: Index) -> Trace:
        return self._survey.at(self.point(index))


def _irregular(
    axis: str, values: Sequence[int], traces: Sequence[Trace], merged: Collection[Place] = ()
) -> str:
    """Why no polynomial fits along these runs; empty when one does."""
    shown = ", ".join(f"{value:,}" for value in values)
    places = [set(counts(trace)) for trace in traces]
    irregular = {place for each in places for place in each ^ places[0]}
    if irregular:
        op, stack = min(irregular, key=str)
        where = str(stack[0]) if stack else op
        return f"at {axis}={shown} the code branches: {where} allocates at some of them only"
    together = merged_places(traces) | frozenset(merged)
    sheets = [sheet(trace, together) for trace in traces]
    uneven = uneven_sites(sheets)
    if not uneven:
        return ""
    peaks = [each.peak for each in sheets]
    if is_polynomial(peaks):
        return f"no polynomial fits at {axis}={shown}: {_held_by(uneven[0], sheets)}"
    amounts = ", ".join(f"{peak:,}" for peak in peaks)
    return f"no polynomial fits at {axis}={shown}: the peak is {amounts} bytes"


def _below_the_peak(
    axis: str, values: Sequence[int], traces: Sequence[Trace], merged: Collection[Place] = ()
) -> str:
    """What follows no polynomial, where the peak does and stays clear of it; empty otherwise.

    The peak has to outgrow it from size to size: what comes nearer may be the peak further on.
    """
    places = [set(counts(trace)) for trace in traces]
    if any(each != places[0] for each in places):
        return ""
    together = merged_places(traces) | frozenset(merged)
    # Upwards, whichever way the steps go.
    order = sorted(range(len(values)), key=lambda k: values[k])
    sheets = [sheet(traces[k], together) for k in order]
    uneven = uneven_sites(sheets)
    peaks = [each.peak for each in sheets]
    if not uneven or not is_polynomial(peaks):
        return ""
    for site in uneven:
        gaps = [each.peak - each.live[site] for each in sheets]
        if gaps[0] < 0 or any(after < before for before, after in pairwise(gaps)):
            return ""
    shown = ", ".join(f"{values[k]:,}" for k in order)
    return f"{_held_by(uneven[0], sheets)} at {axis}={shown}, below the peak at every size run"


def _held_by(site: Site, sheets: Sequence[Sheet]) -> str:
    """``aten.empty at code.py:7 (f) follows no polynomial, taking 16, 33 and 50 bytes``."""
    (op, stack), _ = site
    where = f"{op} at {stack[0]}" if stack else op
    columns = ([getattr(each, kind)[site] for each in sheets] for kind in ("own", "held", "live"))
    column = next(each for each in columns if not is_polynomial(each))
    return f"{where} follows no polynomial, with {', '.join(f'{n:,}' for n in column)} bytes"


def uneven_sites(sheets: Sequence[Sheet]) -> list[Site]:
    """The sites of which a live sum, what they hold or ask for, follows no polynomial."""
    return [
        site
        for site in sheets[0].live
        if not all(
            is_polynomial([getattr(each, kind)[site] for each in sheets])
            for kind in ("live", "held", "own")
        )
    ]


def is_polynomial(column: Sequence[int]) -> bool:
    """Whether the last difference of equidistant values vanishes."""
    values: dict[Index, int] = {((("", k),) if k else ()): value for k, value in enumerate(column)}
    return difference(values, (("", len(column) - 1),)) == 0
