"""What a test that takes long is doing, on the terminal while it runs."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Self

from oom_suite.report.rows import printable

if TYPE_CHECKING:
    import pytest

_FIRST_S = 2.0
"""Seconds after which somebody who watches is told what runs."""

_FIRST_IN_LOG_S = 30.0
"""The same in a log, which keeps every line; each further one comes after twice the time."""

_AGAIN_S = 0.5
_WIDTH = 100


class Running:
    """A context manager that says what a test is doing, where that takes longer than a moment.

    On a terminal it is one line, which is written anew and removed at the end; elsewhere a line
    now and then. Workers of pytest-xdist say nothing: they have no terminal.
    """

    def __init__(self, config: pytest.Config, test: str) -> None:
        self._config = config
        self._test = printable(test)
        self._doing = "starting"
        self._is_over = threading.Event()
        self._start = time.monotonic()
        self._is_shown = False
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if not hasattr(self._config, "workerinput"):
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._is_shown:
            self._write("\r" + " " * (_WIDTH - 1) + "\r")

    def update(self, _program: str, doing: str) -> None:
        """Say what it is doing from now on."""
        self._doing = printable(doing)

    def _watch(self) -> None:
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        is_terminal = bool(getattr(reporter, "isatty", False))
        wait_s = _FIRST_S if is_terminal else _FIRST_IN_LOG_S
        while not self._is_over.wait(wait_s):
            elapsed_s = time.monotonic() - self._start
            line = f"{self._test}: {self._doing} ({elapsed_s:.0f} s)"
            if is_terminal:
                self._is_shown = True
                self._write("\r" + line[: _WIDTH - 1].ljust(_WIDTH - 1))
                wait_s = _AGAIN_S
            else:
                self._write(f"\n{line}\n")
                wait_s = elapsed_s

    def _write(self, text: str) -> None:
        """Write past pytest's capture, which has the terminal while a test runs."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        with contextlib.ExitStack() as aside:
            if capture is not None:
                aside.enter_context(capture.global_and_fixture_disabled())
            self._config.get_terminal_writer().write(text, flush=True)
