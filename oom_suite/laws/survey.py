"""Exact runs of one subject at chosen sizes, each made once and kept."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from oom_suite.laws.sites import Place, Sheet, counts, sheet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from oom_suite.records import Trace


class Survey:
    """Runs a call at sizes around a scenario and far from it.

    Args:
        run: gives the trace of one call at these sizes.
        sizes: the scenario's sizes, where every run starts from.
    """

    def __init__(self, run: Callable[[Mapping[str, int]], Trace], sizes: Mapping[str, int]) -> None:
        """Nothing is run yet."""
        self._run = run
        self.sizes = dict(sizes)
        self._traces: dict[tuple[tuple[str, int], ...], Trace] = {}

    @property
    def num_runs(self) -> int:
        """How many runs were made."""
        return len(self._traces)

    def moved(self, changes: Mapping[str, int]) -> Survey:
        """A survey of the same call that starts from other sizes."""
        return Survey(self._run, {**self.sizes, **changes})

    @property
    def traces(self) -> Iterable[Trace]:
        """Every run made so far."""
        return self._traces.values()

    def at(self, changes: Mapping[str, int]) -> Trace:
        """The trace at the scenario's sizes with these changed."""
        sizes = {**self.sizes, **changes}
        key = tuple(sorted(sizes.items()))
        if key not in self._traces:
            self._traces[key] = self._run(sizes)
        return self._traces[key]

    def sheets(self, points: Iterable[Mapping[str, int]]) -> tuple[list[Sheet], set[Place]]:
        """The sheets of these runs, and the places that had to be merged to compare them."""
        traces = [self.at(point) for point in points]
        tallies: list[Counter[Place]] = [counts(trace) for trace in traces]
        places = set().union(*tallies)
        merged = {place for place in places if len({tally[place] for tally in tallies}) > 1}
        return [sheet(trace, merged) for trace in traces], merged
