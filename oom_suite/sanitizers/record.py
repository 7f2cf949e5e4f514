"""How a step under a sanitizer ended, and what was found."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oom_suite.records.safety import Hit

STEP_DONE = "oom-suite: the step is done"
"""What a step under a sanitizer writes when it ran to its end."""


class SanitizerOutcome(enum.Enum):
    """How a run under a sanitizer ended."""

    CLEAN = "clean"
    FOUND = "found errors"
    NO_TOOL = "no sanitizer here"
    NO_DEVICE = "no device that it supports"
    TIMED_OUT = "timed out"
    FAILED = "the step failed"


@dataclass(frozen=True, slots=True)
class SanitizerRun:
    """One step under one tool.

    Attributes:
        subject: its spelling.
        tool: ``memcheck``, ``initcheck``, ``racecheck`` or ``synccheck``.
        scenario: the name of the sizes.
        outcome: how it ended.
        reason: one line: why this outcome, and what to do where nothing was learnt.
        hits: what the tool found, each once.
        num_errors: the tool's own count, repeats included.
    """

    subject: str
    tool: str
    scenario: str
    outcome: SanitizerOutcome
    reason: str
    hits: tuple[Hit, ...] = ()
    num_errors: int = 0

    def to_json(self) -> dict[str, Any]:
        """The run as JSON values."""
        return {**asdict(self), "outcome": self.outcome.value}
