"""What is known of a program whose time was over before its law was found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.laws.words import listed

if TYPE_CHECKING:
    from oom_suite.pipeline.runs import Runs
    from oom_suite.pipeline.settings import Settings
    from oom_suite.records import Result

MORE_TIME = "give it more with --oom-test-time-limit, or make it shorter with smaller axes"


def unfinished(result: Result, runs: Runs, settings: Settings) -> Result:
    """The result with what the runs have shown that were made in time."""
    peaks = [(sizes, runs.known(sizes).peak().num_bytes) for sizes in runs.known_sizes]
    if not peaks:
        return replace(result, reason=f"{result.reason}; no run was finished by then")
    sizes, num_bytes = max(peaks, key=lambda each: each[1])
    made = f"{len(peaks)} exact {'run was' if len(peaks) == 1 else 'runs were'} made by then"
    shown = f"{made}, and the largest peak is {num_bytes:,} bytes at {listed(sizes)}"
    here = next((peak for at, peak in peaks if at == dict(settings.sizes)), None)
    return replace(
        result,
        reason=f"{result.reason}; no law was found yet: {shown}{_of_bound(peaks, settings)}",
        peak_requested_bytes=here,
    )


def _of_bound(peaks: list[tuple[dict[str, int], int]], settings: Settings) -> str:
    """What those runs say of the bound, where one is promised."""
    bound = settings.workload.contract.at_most
    if bound is None:
        return ""
    over = [(sizes, peak) for sizes, peak in peaks if peak > bound(sizes)]
    if not over:
        return "; all of them are within the bound"
    sizes, peak = min(over, key=lambda each: each[1])
    return f"; {peak:,} bytes at {listed(sizes)} are over the bound, {int(bound(sizes)):,} there"
