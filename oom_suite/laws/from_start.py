"""The law of code that keeps state between calls: of first calls, and of second ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.laws.derive import Derivation, derive
from oom_suite.laws.judge import Judgement, judge
from oom_suite.records import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.records import Trace, Workload

_WORST = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)
_SECOND = "from the second call on"


def judge_from_start(
    run: Callable[[Mapping[str, int]], tuple[Trace, ...]],
    workload: Workload,
    sizes: Mapping[str, int],
) -> tuple[Derivation, Judgement]:
    """The worse of two laws, each of runs that no other run has touched.

    Runs of code that keeps a buffer differ with what ran before them, so that no law fits them.
    Where each begins in a process of its own, they are as comparable as any: a workspace that is
    made once is in every first call and in no second one.

    Cost: that of `derive`, and a process for each run.

    Args:
        run: gives the exact traces of two calls in a process that has just started.
        workload: its axes are varied.
        sizes: the scenario.

    Raises:
        OomSuiteError: the scenario itself cannot be run.

    Does not prove: what a third call does, or a call after others at other sizes; that is what
    the creep check of ``oom-suite check --safety`` looks at.
    """
    known: dict[tuple[tuple[str, int], ...], tuple[Trace, ...]] = {}

    def both(at: Mapping[str, int]) -> tuple[Trace, ...]:
        key = tuple(sorted(at.items()))
        if key not in known:
            known[key] = run(at)
        return known[key]

    def law_of(call: int) -> tuple[Derivation, Judgement]:
        derivation = derive(lambda at: both(at)[call], workload, sizes)
        return derivation, judge(derivation, workload)

    found = [law_of(0), law_of(1)]
    (_, first), (_, second) = found
    derivation, judgement = min(found, key=lambda pair: _WORST.index(pair[1].verdict))
    reason = judgement.reason
    if judgement is second and first.verdict is not second.verdict:
        reason = f"{reason}, {_SECOND}"
    peaks = [each.trace.peak().num_bytes for each, _ in found]
    note = (
        f"keeps state between calls: {peaks[0]:,} bytes in a first call, {peaks[1]:,} in a "
        "second; each judged by itself"
    )
    return derivation, replace(judgement, reason=reason, notes=(*judgement.notes, note))
