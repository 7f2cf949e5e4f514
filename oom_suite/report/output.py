"""The JSON file of a command, which has at any moment all that is known by then."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

from oom_suite.errors import OomSuiteError
from oom_suite.report.files import is_replaced, where_made, write_body
from oom_suite.report.screen import say_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Body = Callable[[], Mapping[str, Any]]


def delivered(write: Callable[..., None], *arguments: object) -> None:
    """Nothing; one line where it cannot be written, and the exit code is still the verdict's.

    Args:
        write: writes a file that was tried when the options were read.
        arguments: its arguments.
    """
    try:
        write(*arguments)
    except OomSuiteError as error:
        say_error(error)


class Output:
    """Where a command's results go, written as they come.

    A context manager. However it is left, the file has what is known; ``is_complete`` says
    whether that is all. A pipe and standard output cannot take a text back: they get it once, at
    the end. What cannot be written is one line on standard error, and leaves the verdict and its
    exit code as they are.

    Args:
        path: the file, which was tried when the options were read; None for none.
        body: gives what is known now.
        row_key: as of `oom_suite.report.files.write_body`.
        say: told in one line what cannot be written.
        made: where the results were made, as of `oom_suite.report.files.where_made`; None for
            here and now.
    """

    def __init__(
        self,
        path: Path | None,
        body: Body,
        row_key: str = "",
        say: Callable[[object], None] = say_error,
        made: Mapping[str, Any] | None = None,
    ) -> None:
        self._say = say
        self._path = path
        self._body = body
        self._row_key = row_key
        self._turn = threading.Lock()
        self._made: Mapping[str, Any] = made or {}
        self._is_complete = False
        self._is_broken = False

    def __enter__(self) -> Self:
        """The output; a file of an earlier run is no longer taken for this one's."""
        self.keep()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Write what is known, where that was not done yet."""
        if kind is None:
            return
        if not issubclass(kind, Exception):
            # Interrupted: what is known by now is all that anybody will get.
            self._write(at_end=True)

    def keep(self) -> None:
        """Write what is known by now; from any thread."""
        self._write(at_end=False)

    def finish(self) -> None:
        """Write the whole of it."""
        self._is_complete = True
        self._write(at_end=True)

    def _write(self, *, at_end: bool) -> None:
        if self._path is None or not (at_end or is_replaced(self._path)):
            return
        with self._turn:
            self._made = self._made or where_made()
            body = {**self._body(), "is_complete": self._is_complete}
            try:
                write_body(body, self._path, self._row_key, self._made)
            except OomSuiteError as error:
                # Said once; the last attempt is the one that counts.
                if at_end or not self._is_broken:
                    self._say(error)
                self._is_broken = True
