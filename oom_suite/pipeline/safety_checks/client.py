"""Asks a child for findings and outcomes; a child that dies also yields one. No torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.pipeline.safety_checks.requests import Find, IsGpuHealthy, TryCase
from oom_suite.processes.child import ChildError
from oom_suite.processes.child import Outcome as ChildOutcome
from oom_suite.records import Verdict
from oom_suite.records.safety import Finding, Hit
from oom_suite.safety.index_outcomes import Outcome, unknown_outcome

if TYPE_CHECKING:
    from oom_suite.pipeline.safety_checks.requests import SafetyJob
    from oom_suite.processes.askers import Respawning

_ACCESSES = frozenset({"reads", "writes", "indices", "addresses"})


def finding_of(child: Respawning, job: SafetyJob, name: str) -> Finding:
    """The child's finding on a property.

    A crash in a step is an access to memory that is not there; all else proves nothing.
    """
    try:
        return child.ask(Find(job, name))
    except ChildError as error:
        reason = str(error)
        if error.outcome is ChildOutcome.CRASHED and name in _ACCESSES:
            return Finding(name, Verdict.FAIL, reason, (Hit("crash", reason),))
        return Finding(name, Verdict.INCONCLUSIVE, reason)


def outcome_of(child: Respawning, job: SafetyJob, case: str) -> Outcome:
    """The child's outcome of one case of bad indices; where it raised or died, a deadly one."""
    try:
        return child.ask(TryCase(job, case))
    except ChildError as error:
        if error.outcome is ChildOutcome.CRASHED:
            return Outcome(case, str(error), "wild-access", deadly=True)
        return replace(unknown_outcome(case, str(error)), deadly=True)


def replace_spoiled(child: Respawning, device: str) -> None:
    """Replace a child that lives and can no longer use its GPU."""
    if not child.is_alive:
        return
    try:
        is_healthy = child.ask(IsGpuHealthy(device))
    except ChildError:
        is_healthy = False
    if not is_healthy:
        child.close()
