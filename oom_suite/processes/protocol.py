"""What a child process is asked: a request is pickled, sent, and answers itself there."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Answer = TypeVar("Answer")
Thing = TypeVar("Thing")


class Kept:
    """What a process keeps from one request to the next: a loaded subject, a lane."""

    def __init__(self) -> None:
        self._things: dict[Hashable, object] = {}

    def get(self, key: Hashable, make: Callable[[], Thing]) -> Thing:
        """The thing kept under this key; made now where there is none.

        Args:
            key: what it is; the same key always stands for the same type.
            make: makes it.
        """
        if key not in self._things:
            self._things[key] = make()
        return self._things[key]  # type: ignore[return-value]  # made by the same key's maker


class Request(abc.ABC, Generic[Answer]):
    """A question to a process, with its answer's type.

    Both methods run in the process that is asked. What they raise is the answer's error.
    """

    def prepare(self, kept: Kept) -> None:
        """Load what the answer needs; a limit on memory is set after the first of these."""

    @abc.abstractmethod
    def answer(self, kept: Kept) -> Answer:
        """The answer, which can be pickled."""


class Asker(Protocol):
    """Takes requests: a child process, one that is replaced when it dies, or this process."""

    def ask(self, request: Request[Answer]) -> Answer:
        """The answer.

        Raises:
            ChildError: there is none; the message says what happened.
        """
        ...

    def close(self) -> None:
        """End what answers; further requests may start it again."""
        ...
