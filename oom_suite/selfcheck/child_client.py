"""Asks a child of the self-check for a task; a GPU that the task has spoiled ends the child."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from oom_suite.processes.child import ChildError
from oom_suite.safety.child_client import replace_spoiled
from oom_suite.selfcheck.seen import seen_as

if TYPE_CHECKING:
    from oom_suite.processes.respawning import Respawning
    from oom_suite.records.selfcheck import Seen
    from oom_suite.selfcheck.tasks import Task

_OPEN = "INCONCLUSIVE"
_LEAVES_A_CAPTURE = "capture"
"""The detector after whose FAIL a GPU's allocator may stand in the middle of a capture."""


def asked(task: Task, child: Respawning) -> tuple[Seen, ...]:
    """What was seen of the task; where the child died, nothing that could be judged."""
    began = time.monotonic()
    try:
        seen: tuple[Seen, ...] = child.ask(task)
    except ChildError as error:
        elapsed_ms = round(1000 * (time.monotonic() - began))
        reason = f"{error.outcome.value}: {error}"
        return tuple(
            seen_as(task.subject, detector, _OPEN, (), reason, elapsed_ms)
            for detector in task.detectors
        )
    return seen


def asked_on_gpu(task: Task, child: Respawning) -> tuple[Seen, ...]:
    """The same of a child that uses a GPU.

    After each task the child is asked whether its GPU is sound, and replaced where it is not. A
    task that came to nothing in a child that others had used has one more try in a new one.
    """
    was_used = child.is_alive
    seen = asked(task, child)
    if was_used and any(one.verdict == _OPEN for one in seen):
        child.replace()
        seen = asked(task, child)
    if any(one.detector == _LEAVES_A_CAPTURE and one.verdict != "PASS" for one in seen):
        child.replace()
    else:
        replace_spoiled(child)
    return seen
