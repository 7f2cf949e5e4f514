"""Asks for one run of a builder in a lane: from a child process, or from this one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol, Self

from oom_suite.errors import LaneError, OomSuiteError
from oom_suite.processes.child import Child, ChildError, Outcome
from oom_suite.processes.respawning import Respawning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from oom_suite.pipeline.law_tests.job import Target

PRELOAD = ("oom_suite.pipeline.worker", "oom_suite.tracing.warm")
"""The same as for decode paths: the server that children are forked from is one for all."""


class Runs(Protocol):
    """Runs a builder in a lane."""

    def ask(self, lane: str, request: object) -> Any:
        """The trace for these sizes (hints, in the prove lane).

        Raises:
            OomSuiteError: the code cannot be run there.
        """
        ...


class RunsInChildren:
    """A child process for each lane, so that whatever the code does there is a result.

    Args:
        target: what they run.
        device: the device of the measure lane.
        time_limit_s: seconds that one run may take.
    """

    def __init__(self, target: Target, device: str, time_limit_s: float) -> None:
        """Start nothing yet."""
        self._target = target
        self._device = device
        self._time_limit_s = time_limit_s
        self._lanes: dict[str, Respawning] = {}
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """The runs themselves."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the children."""
        self._undo.close()

    def ask(self, lane: str, request: object) -> Any:
        """The child's answer.

        Raises:
            LaneError: it has none; the message says what happened.
        """
        if lane not in self._lanes:
            self._lanes[lane] = self._undo.enter_context(Respawning(lambda: self._child(lane)))
        try:
            return self._lanes[lane].ask(request)
        except ChildError as error:
            raise LaneError(_line(error)) from error

    def _child(self, lane: str) -> Child:
        return Child(
            "oom_suite.pipeline.law_tests.lanes:make_handler",
            (self._target.in_lane(lane, self._device),),
            time_limit_s=self._time_limit_s,
            preload=PRELOAD,
            needs_gpu=lane == "measure" and self._device != "cpu",
        )


class RunsHere:
    """Runs in this process: what the code raises is told, what ends the process ends it.

    Args:
        build: the builder.
        device: the device of the measure lane.
        root: source files are shown relative to it.
    """

    def __init__(self, build: Callable[..., Any], device: str, root: Path) -> None:
        """Make no lane yet."""
        self._build = build
        self._device = device
        self._root = root
        self._lanes: dict[str, Callable[[Any], Any]] = {}

    def ask(self, lane: str, request: object) -> Any:
        """The lane's answer.

        Raises:
            LaneError: the code cannot be run.
        """
        from oom_suite.pipeline.law_tests.lanes import runner
        from oom_suite.processes.child_main import classify

        try:
            if lane not in self._lanes:
                self._lanes[lane] = runner(self._build, lane, self._device, self._root)
            return self._lanes[lane](request)
        except OomSuiteError:
            raise
        except Exception as error:
            outcome, line = classify(error, None)
            raise LaneError(f"{outcome.value}: {line}") from error


def _line(error: ChildError) -> str:
    return str(error) if error.outcome is Outcome.REFUSED else f"{error.outcome.value}: {error}"
