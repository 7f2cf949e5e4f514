"""A server's steps beside its profile run: what each was found to take, and what is covered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.records.covering import Step
    from oom_suite.records.result import Result


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step and the verdict on it.

    Attributes:
        step: what can come after the profile run.
        result: whether it is covered; its `coverage` has the bytes.
        command: what reproduces its largest peak; empty where none is known.
    """

    step: Step
    result: Result
    command: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "step": self.step.name,
            "profile": {"runs": self.step.runs, "where": self.step.where},
            "command": self.command,
            **self.result.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Slack:
    """What an engine leaves of a device beside what it gives to weights, its peak and the cache.

    Attributes:
        name: the device, or its bytes.
        utilization: the part of it that the engine takes.
        num_bytes: the rest.
    """

    name: str
    utilization: float
    num_bytes: int

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"name": self.name, "utilization": self.utilization, "bytes": self.num_bytes}


@dataclass(frozen=True, slots=True)
class CoversReport:
    """What a profile run covers of a server's steps.

    Attributes:
        subject: the release.
        target: whose path it is.
        model: the model's name.
        flags: the server's flags, by the names that they have on its command line.
        where: the line of the release that runs the model in the profile run.
        steps: the steps judged so far.
        slack: what the engine leaves; None where that was not asked for.
    """

    subject: str
    target: str
    model: str
    flags: Mapping[str, int]
    where: str
    steps: tuple[StepResult, ...] = ()
    slack: Slack | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values, in the layout of ``covers --json``."""
        return {
            "subject": self.subject,
            "target": self.target,
            "model": self.model,
            "flags": dict(self.flags),
            "profile_run": self.where,
            "slack": None if self.slack is None else self.slack.to_json(),
            "steps": [step.to_json() for step in self.steps],
        }
