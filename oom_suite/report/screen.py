"""Where text goes: a console on which no name, path or message can do more than be read."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleRenderable, RenderHook
from rich.segment import Segment
from rich.text import Text

from oom_suite.report.rows import RUNNER_COMMAND, printable

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderResult

_KEPT = "\n\t"


def screen(*, stderr: bool = False, quiet: bool = False) -> Console:
    """The console that commands print on.

    What the code under test is called, where it lies and what it raises is written by strangers.
    Control characters, which a terminal obeys, and those that turn the direction of a text become
    spaces; in a log, no line begins with what GitHub's runner would take for a command.

    Args:
        stderr: to standard error, so that standard output stays the result alone.
        quiet: show nothing at all.

    Source: GitHub Actions, "Workflow commands for GitHub Actions"; actions/runner
    ``src/Runner.Common/ActionCommand.cs`` for the older form, which counts anywhere in a line.
    """
    console = _Console(stderr=stderr, quiet=quiet)
    console.push_render_hook(_Harmless(is_log=not console.is_terminal))
    return console


def say(line: str) -> None:
    """Print one line of a command's result on standard output."""
    print_line(screen(), printable(line))


def print_line(console: Console, line: str | Text) -> None:
    """Print text as it is: it is broken by whoever reads it, and nothing in it is markup."""
    console.print(line if isinstance(line, Text) else Text(line), soft_wrap=True, highlight=False)


def say_error(message: object) -> None:
    """Print an error of the suite as one line on standard error."""
    line = printable(str(message))
    sys.stderr.write(f"oom-suite: {without_commands(line)}\n")


def without_commands(line: str) -> str:
    """A line of a log that no runner takes for a command.

    Args:
        line: from its start, without a line break.
    """
    line = line.replace(RUNNER_COMMAND, "## [")
    if line.lstrip().startswith("::"):
        return line.replace("::", ": :", 1)
    return line


class _Console(Console):
    """A console whose reader may go: what is left to say is then said to nobody."""

    def on_broken_pipe(self) -> None:
        """Go on. The exit code is the verdict's, which ``| head`` does not change."""
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, (sys.stderr if self.stderr else sys.stdout).fileno())
        os.close(nobody)


class _Harmless(RenderHook):
    def __init__(self, *, is_log: bool) -> None:
        self._is_log = is_log

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Harmlessly(one, is_log=self._is_log) for one in renderables]


class _Harmlessly(ConsoleRenderable):
    """What another renderable gives, made harmless."""

    def __init__(self, what: ConsoleRenderable, *, is_log: bool) -> None:
        self._what = what
        self._is_log = is_log

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        begins_line = True
        for segment in console.render(self._what, options):
            if segment.control:
                yield segment
                continue
            parts = []
            for part in segment.text.splitlines(keepends=True) or [segment.text]:
                shown = "".join(c if c.isprintable() or c in _KEPT else " " for c in part)
                if self._is_log and begins_line:
                    shown = without_commands(shown)
                parts.append(shown)
                begins_line = part.endswith("\n") or (begins_line and not part.strip())
            yield Segment("".join(parts), segment.style)
