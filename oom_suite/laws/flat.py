"""Whether the peak stays as it is from some size of an axis on; and from which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.laws.evidence import Survey, dependences, unseen_growth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from oom_suite.laws.evidence import Dependence
    from oom_suite.laws.sites import Place
    from oom_suite.records import Axis, Trace, Workload

    Sizes = Mapping[str, int]

_NUM_ALIKE = 3
"""Doublings that have to give one peak for it to be looked into."""

_MAX_DOUBLINGS = 14
_MAX_EVENTS = 500
"""Longer traces are not doubled: each turn of a loop over an axis takes a millisecond or more."""

_MAX_SIZE = 1 << 22
_NEAR = (0, 1, 2, 3)
"""Sizes compared just behind the start, in steps of the axis and by one."""


@dataclass(frozen=True, slots=True)
class Flat:
    """What runs say of an axis from some size on.

    Attributes:
        axis: the axis.
        start: from here on; for a search the smallest size that the peak stays from.
        compared: the sizes of the axis that were compared there, all else as at the scenario.
        num_runs: exact runs behind it, those with other axes moved included.
        shown: runs that do not allocate alike; None where all do.
        unseen: operators with unseen scratch that are given more from there on.
        refused: why a size could not be run; empty where all could.
        moved: starts of their own that other sizes of other axes have.
    """

    axis: str
    start: int
    compared: tuple[int, ...]
    num_runs: int
    shown: Dependence | None = None
    unseen: tuple[Place, ...] = ()
    refused: str = ""
    moved: tuple[tuple[Sizes, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Rising:
    """A peak that still rises at the largest size that was run.

    Attributes:
        axis: the axis.
        before: the largest size but one, and its peak.
        after: the largest size, and its peak.
        shown: the runs that show it.
    """

    axis: str
    before: tuple[int, int]
    after: tuple[int, int]
    shown: Dependence | None


class FlatSurvey:
    """Exact runs along one axis."""

    def __init__(
        self, run: Callable[[Sizes], Trace], workload: Workload, sizes: Sizes, axis: str
    ) -> None:
        self._survey = Survey(run, sizes)
        self._workload = workload
        self._axis: Axis = next(each for each in workload.axes if each.name == axis)
        self._name = axis

    def search(self) -> Flat | Rising | None:
        """From where on it is flat; or how it rises; None where neither can be said."""
        failed: Flat | None = None
        for found in self._plateaus({}):
            if isinstance(found, Rising):
                return found
            flat = self.held_from(found, moves=True)
            if flat.shown is None or not flat.shown.reaches_peak:
                return flat
            # Padding keeps a peak over a few doublings: what it is further on counts.
            failed = flat
        return failed

    def held_from(self, start: int, *, moves: bool = False) -> Flat:
        """What runs from that size on say, other axes at the scenario and far from it.

        Args:
            start: the smallest size that is compared.
            moves: whether other sizes of other axes may have a start of their own.
        """
        moved: list[tuple[Sizes, int]] = []
        for others in self._others():
            for value in self._few(start) if others else self._values(start):
                self._trace(value, others)
            if moves and others and self._against(start, others) is not None:
                plateaus = (n for n in self._plateaus(others) if isinstance(n, int) and n > start)
                own = next(plateaus, None)
                if own is not None:
                    moved.append((others, own))
                    for value in self._few(own):
                        self._trace(value, others)
        runs = [
            (sizes, trace)
            for sizes, trace in self._survey.runs
            if sizes[self._name] >= self._start_at(sizes, start, moved)
        ]
        here = {**self._survey.sizes, self._name: 0}
        compared = {s[self._name] for s, _ in runs if {**s, self._name: 0} == here}
        return Flat(
            self._name,
            start,
            tuple(sorted(compared)),
            len(runs),
            next(iter(dependences(runs, [self._name])), None),
            unseen_growth(runs, self._name),
            next((why for sizes, why in self._survey.refusals if sizes[self._name] >= start), ""),
            tuple(moved),
        )

    def _start_at(self, sizes: Sizes, start: int, moved: list[tuple[Sizes, int]]) -> int:
        own = (own for others, own in moved if others.items() <= sizes.items())
        return max((start, *own))

    def _against(self, start: int, others: Sizes) -> Dependence | None:
        """Runs at these sizes of other axes that do not allocate alike from that size on."""
        there = {**self._survey.sizes, **others, self._name: 0}
        runs = [
            (sizes, trace)
            for sizes, trace in self._survey.runs
            if sizes[self._name] >= start and {**sizes, self._name: 0} == there
        ]
        return next(iter(dependences(runs, [self._name])), None)

    def _plateaus(self, others: Sizes) -> Iterator[int | Rising]:
        """Sizes from which the peak stays over some doublings, each once; and a rise at the end."""
        found: list[tuple[int, int]] = []
        tried: set[int] = set()
        for size in self._doublings():
            trace = self._trace(size, others)
            if trace is None:
                continue
            found.append((size, trace.peak().num_bytes))
            last = found[-_NUM_ALIKE:]
            if len(last) == _NUM_ALIKE and len({peak for _, peak in last}) == 1:
                below = found[-_NUM_ALIKE - 1][0] if len(found) > _NUM_ALIKE else 0
                first = self._first(max(below, self._axis.lower - 1), *last[0], others)
                if last[0][1] not in tried:
                    yield first
                tried.add(last[0][1])
            if len(trace.events) > _MAX_EVENTS:
                break
        if len(found) >= _NUM_ALIKE and found[-1][1] > found[-2][1]:
            yield Rising(self._name, found[-2], found[-1], self._against(found[-2][0], others))

    def _doublings(self) -> Iterator[int]:
        size = self._survey.sizes[self._name]
        enough = max(_MAX_SIZE, 4 * size, *self._axis.far)
        yield from (n for k in range(_MAX_DOUBLINGS + 1) if (n := size << k) <= enough)

    def _first(self, low: int, high: int, peak: int, others: Sizes) -> int:
        """The smallest size with that peak, as far as halving tells."""
        while high - low > 1:
            middle = (low + high) // 2
            trace = self._trace(middle, others)
            if trace is not None and trace.peak().num_bytes == peak:
                high = middle
            else:
                low = middle
        return high

    def _values(self, start: int) -> list[int]:
        near = {start + k * step for k in _NEAR for step in (1, self._axis.step)}
        further = {2 * start - 1, 2 * start, 3 * start + 1, 8 * start + start // 2 + 1, 32 * start}
        limit = max(_MAX_SIZE, 3 * start + 1)
        known = {*self._axis.far, self._survey.sizes[self._name]}
        return sorted(n for n in near | further | known if start <= n <= limit)

    def _few(self, start: int) -> tuple[int, ...]:
        """Those that are compared where other axes are moved as well."""
        return (start, start + 1, 2 * start, 4 * start + start // 2 + 1)

    def _others(self) -> Iterator[Sizes]:
        """Nothing moved; each other axis at its least and largest far size; all at the largest."""
        yield {}
        axes = [axis for axis in self._workload.axes if axis.name != self._name]
        for axis in axes:
            ends = {min(axis.far), max(axis.far)} if axis.far else set()
            yield from ({axis.name: n} for n in sorted(ends - {self._survey.sizes[axis.name]}))
        if len(axes) > 1:
            yield {axis.name: max(axis.far, default=axis.lower) for axis in axes}

    def _trace(self, size: int, others: Sizes) -> Trace | None:
        wish = {**self._survey.sizes, **others, self._name: size}
        # Sizes that cannot be built say nothing; a dependent axis may not follow this one.
        return self._survey.try_at(wish) if self._workload.is_valid(wish) else None
