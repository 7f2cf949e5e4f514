"""A progress line on standard error while subjects are fetched and run."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from rich.text import Text

from oom_suite.report.screen import screen

if TYPE_CHECKING:
    from oom_suite.records import Result


class Progress:
    """Shows what each subject is doing now; where nobody watches, a line for each one finished.

    Args:
        quiet: show nothing at all.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        """Write to standard error, so that standard output stays the result alone."""
        self._console = screen(stderr=True, quiet=quiet)
        self._doing: dict[str, str] = {}
        self._lock = threading.Lock()
        self._status = self._console.status("") if self._console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._status is not None:
            self._status.stop()

    def update(self, subject: str, message: str) -> None:
        """Say what that subject is doing now."""
        with self._lock:
            self._doing[subject] = message
            if self._status is not None:
                shown = ", ".join(f"{name}: {doing}" for name, doing in self._doing.items())
                self._status.update(Text(shown))

    def finish(self, result: Result) -> None:
        """Say that a subject is done."""
        self.done(result.subject, f"checked {result.subject}: {result.verdict.value}")

    def done(self, subject: str, line: str) -> None:
        """Say in these words that a subject is done."""
        with self._lock:
            self._doing.pop(subject, None)
            if self._status is None:
                self._console.print(Text(line), soft_wrap=True, highlight=False)
