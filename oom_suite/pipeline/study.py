"""A subject's result with the derivation behind it, and its peak at the named scenarios."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError
from oom_suite.pipeline.check import check_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.laws.derivation import Derivation
    from oom_suite.pipeline.check import Settings
    from oom_suite.records import Result, Trace


@dataclass(frozen=True, slots=True)
class Study:
    """What is known of one subject.

    Attributes:
        result: the verdict on it.
        derivation: its law and the evidence for it; None where it could not be run.
        scenario_bytes: peak requested bytes of an exact run at each named scenario that runs.
    """

    result: Result
    derivation: Derivation | None = None
    scenario_bytes: Mapping[str, int] = field(default_factory=dict)


def study_all(
    subjects: Sequence[str],
    settings: Settings,
    on_progress: Callable[[str, str], None],
    on_result: Callable[[Result], None] = lambda _: None,
) -> list[Study]:
    """The studies of these subjects, in their order.

    Raises:
        UsageError: a spelling cannot be read. Nothing was run then.
    """
    found: dict[str, tuple[Derivation, Mapping[str, int]]] = {}

    def keep(
        subject: str, derivation: Derivation, run: Callable[[Mapping[str, int]], Trace]
    ) -> None:
        found[subject] = derivation, _at_scenarios(run, settings)

    results = check_all(subjects, settings, on_progress, on_result, keep)
    return [Study(result, *found.get(result.subject, (None, {}))) for result in results]


def _at_scenarios(
    run: Callable[[Mapping[str, int]], Trace], settings: Settings
) -> Mapping[str, int]:
    """The peak of a run at every named scenario; one that cannot be run is left out."""
    peaks = {}
    for name, known in settings.workload.scenarios.items():
        sizes = settings.workload.settle(known.sizes)
        if sizes is None:
            continue
        try:
            peaks[name] = run(sizes).peak().num_bytes
        except OomSuiteError:
            # The subject refuses these sizes; its law says where it was found.
            continue
    return peaks
