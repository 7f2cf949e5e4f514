"""A job: what a child process is started for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Job:
    """One subject in one lane.

    Attributes:
        subject: the subject's spelling.
        root: where its source tree was put, for a release; None otherwise.
        builder: ``"module:function"`` that builds the workload's keyword arguments.
        lane: ``"shadow"`` or ``"measure"``.
        device: the device of the measure lane.
        arch: the GPU architecture that the code under test is told it runs on.
    """

    subject: str
    root: str | None
    builder: str
    lane: str
    device: str
    arch: str
