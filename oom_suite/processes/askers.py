"""Who answers requests: a child that is replaced when it dies, or this very process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

from oom_suite.processes.child import Child, ChildError, Outcome
from oom_suite.processes.child_main import classify
from oom_suite.processes.protocol import Kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.processes.protocol import Answer, Request

MAX_DEATHS = 3
"""Children lost before the rest is given up: each may have cost a whole time limit."""

_DEATHS = frozenset({Outcome.TIMED_OUT, Outcome.KILLED, Outcome.CRASHED, Outcome.EXITED})


class Respawning:
    """Asks a child, and a new one after a request that the last one died of."""

    def __init__(self, start: Callable[[], Child]) -> None:
        self._start = start
        self._child: Child | None = None
        self._deaths: list[ChildError] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def ask(self, request: Request[Answer]) -> Answer:
        """The child's answer.

        Raises:
            ChildError: as `Child.ask`; after `MAX_DEATHS` deaths the last one's, unasked.
        """
        if len(self._deaths) == MAX_DEATHS:
            raise self._deaths[-1]
        if self._child is None:
            self._child = self._start()
        try:
            return self._child.ask(request)
        except ChildError as error:
            if error.outcome in _DEATHS:
                self._deaths.append(error)
                self.close()
            raise

    def begin(self) -> None:
        """Start the child now, so that it is ready when it is asked. One that fails shows then."""
        if self._child is None and len(self._deaths) < MAX_DEATHS:
            with contextlib.suppress(ChildError):
                self._child = self._start()

    def kill(self) -> None:
        """End the child from another thread, so that who waits for its answer does not wait."""
        child = self._child
        if child is not None:
            child.kill()

    @property
    def is_alive(self) -> bool:
        """Whether the next request goes to a child that has answered before."""
        return self._child is not None

    def close(self) -> None:
        """End the child though it lives, so that the next request has a new one; no death."""
        if self._child is not None:
            self._child.close()
            self._child = None


class InThisProcess:
    """Answers requests here: what the code raises is the answer, what ends the process ends it.

    Closures and lambdas, which no other process could find, are run so.
    """

    def __init__(self) -> None:
        self._kept = Kept()

    def ask(self, request: Request[Answer]) -> Answer:
        """The answer.

        Raises:
            ChildError: it raised.
        """
        try:
            request.prepare(self._kept)
            return request.answer(self._kept)
        except Exception as error:
            raise ChildError(*classify(error, None)) from error

    def close(self) -> None:
        """Let go of what requests have loaded."""
        self._kept = Kept()
