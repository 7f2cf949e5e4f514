"""Asks a child of the self-check for a task; a GPU that the task has spoiled ends the child."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from oom_suite.pipeline.safety_checks.client import replace_spoiled
from oom_suite.processes.child import ChildError
from oom_suite.selfcheck.seen import seen_as
from oom_suite.selfcheck.tasks import Task, Try

if TYPE_CHECKING:
    from oom_suite.processes.askers import Respawning
    from oom_suite.records.selfcheck import Seen

_OPEN = "INCONCLUSIVE"
_LEAVES_A_CAPTURE = "capture"
"""The detector after whose FAIL a GPU's allocator may stand in the middle of a capture."""


def asked(task: Task, child: Respawning, weakened: str = "") -> tuple[Seen, ...]:
    """What was seen of the task; where the child died, nothing that could be judged."""
    began = time.monotonic()
    try:
        return child.ask(Try(task, weakened))
    except ChildError as error:
        elapsed_ms = round(1000 * (time.monotonic() - began))
        reason = str(error)
        return tuple(
            seen_as(task.subject, detector, _OPEN, (), reason, elapsed_ms)
            for detector in task.detectors
        )


def asked_on_gpu(task: Task, child: Respawning, weakened: str = "") -> tuple[Seen, ...]:
    """The same of a child that uses a GPU.

    After each task the child is asked whether its GPU is sound, and replaced where it is not. A
    task that came to nothing in a child that others had used has one more try in a new one.
    """
    was_used = child.is_alive
    seen = asked(task, child, weakened)
    if was_used and any(one.verdict == _OPEN for one in seen):
        child.close()
        seen = asked(task, child, weakened)
    if any(one.detector == _LEAVES_A_CAPTURE and one.verdict != "PASS" for one in seen):
        child.close()
    else:
        replace_spoiled(child, task.device)
    return seen
