"""Asks a child for findings and outcomes: its death is one, too. No torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.processes.child import ChildError
from oom_suite.processes.child import Outcome as ChildOutcome
from oom_suite.records import Verdict
from oom_suite.records.safety import Finding, Hit

if TYPE_CHECKING:
    from oom_suite.processes.respawning import Respawning
    from oom_suite.safety.index_cases import Outcome

IS_SOUND = "is the device sound?"
"""A request to a child, answered with whether its GPU can still be used."""

_ACCESSES = frozenset({"reads", "writes", "indices", "addresses"})


def finding_of(child: Respawning, name: str) -> Finding:
    """The child's finding on a property.

    A crash in a step is an access to memory that is not there; all else proves nothing.
    """
    try:
        finding: Finding = child.ask(name)
    except ChildError as error:
        said = (
            str(error)
            if error.outcome is ChildOutcome.REFUSED
            else f"{error.outcome.value}: {error}"
        )
        if error.outcome is ChildOutcome.CRASHED and name in _ACCESSES:
            return Finding(name, Verdict.FAIL, said, (Hit("crash", said),))
        return Finding(name, Verdict.INCONCLUSIVE, said)
    return finding


def outcome_of(child: Respawning, case: str) -> Outcome:
    """The child's outcome of one case of bad indices; where it raised or died, a deadly one."""
    # The cases are tensors: whoever only asks for findings does not wait for torch.
    from oom_suite.safety.index_cases import Outcome, unknown_outcome

    try:
        outcome: Outcome = child.ask(f"indices/{case}")
    except ChildError as error:
        said = f"{error.outcome.value}: {error}"
        if error.outcome is ChildOutcome.CRASHED:
            return Outcome(case, said, "wild-access", deadly=True)
        return replace(unknown_outcome(case, said), deadly=True)
    return outcome


def replace_spoiled(child: Respawning) -> None:
    """Replace a child that lives and can no longer use its GPU."""
    if not child.is_alive:
        return
    try:
        is_sound = bool(child.ask(IS_SOUND))
    except ChildError:
        is_sound = False
    if not is_sound:
        child.replace()
