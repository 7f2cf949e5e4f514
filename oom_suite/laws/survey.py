"""Exact runs of one subject at chosen sizes, each made once and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from oom_suite.records import Trace

    Key = tuple[tuple[str, int], ...]


class Survey:
    """Runs a call at sizes around a scenario and far from it.

    A run that fails at a probe is kept as a refusal, with its message, and nothing that was
    measured is lost; only the scenario itself must run.

    Args:
        run: gives the trace of one call at these sizes.
        sizes: the scenario's sizes, where every run starts from.
    """

    def __init__(self, run: Callable[[Mapping[str, int]], Trace], sizes: Mapping[str, int]) -> None:
        """Nothing is run yet."""
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

    def again(self) -> Trace | None:
        """A second run at the scenario, after all the others; None where it now fails."""
        try:
            return self._run(dict(self.sizes))
        except OomSuiteError:
            return None
