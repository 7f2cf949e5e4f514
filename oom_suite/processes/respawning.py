"""A child that is replaced when it dies, so that one deadly request does not end the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from oom_suite.processes.child import Child, ChildError, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

MAX_DEATHS = 3
"""Children lost before the rest is given up: each may have cost a whole time limit."""

_DEATHS = frozenset({Outcome.TIMED_OUT, Outcome.KILLED, Outcome.CRASHED, Outcome.EXITED})


class Respawning:
    """Asks a child, and a new one after a request that the last one died of.

    Args:
        start: starts a child.
    """

    def __init__(self, start: Callable[[], Child]) -> None:
        """Start nothing yet."""
        self._start = start
        self._child: Child | None = None
        self._deaths: list[ChildError] = []

    def __enter__(self) -> Self:
        """The asker itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """End the child that lives."""
        self._end()

    def ask(self, request: object) -> Any:
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
                self._end()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether the next request goes to a child that has answered before."""
        return self._child is not None

    def replace(self) -> None:
        """End the child though it lives, so that the next request has a new one; no death."""
        self._end()

    def _end(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None
