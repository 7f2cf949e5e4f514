"""`oom-suite doctor`: what this machine can measure, and why not the rest."""

from __future__ import annotations

import json as json_text
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import typer

from oom_suite.cli.doctor_findings import sections
from oom_suite.cli.options import Json
from oom_suite.processes.ending import Life
from oom_suite.report.doctor import broken, render
from oom_suite.report.output import Output
from oom_suite.report.screen import screen

if TYPE_CHECKING:
    from collections.abc import Mapping

EXIT_BROKEN = 1
_SURVEY = "oom_suite.targets.meters.survey"
_WITHOUT_TORCH = "--without-torch"
_LIMIT_S = 120.0


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command("doctor")
    def doctor_command(*, json: Json = None) -> None:
        """Say what this machine can measure, and what to install or set for the rest.

        Exits 0, 1 when something that should work here is broken, 2 on bad usage.
        """
        known: dict[str, Any] = {"doctor": {}}
        with Output(json, lambda: known) as output:
            found = sections(ask_survey())
            known["doctor"] = {
                section.title: [one.to_json() for one in section.findings] for section in found
            }
            render(found, screen())
            output.finish()
        raise typer.Exit(EXIT_BROKEN if broken(found) else 0)


def ask_survey(limit_s: float = _LIMIT_S) -> Mapping[str, Any]:
    """What `oom_suite.targets.meters.survey` found in a process of its own.

    Importing torch may raise, hang or crash. Where it ends the process, the rest is asked for
    without it, and torch's own answer is that end; where that ends too, the only key is
    ``error``.
    """
    answer, failure = _asked((), limit_s)
    if answer is not None:
        return answer
    answer, other = _asked((_WITHOUT_TORCH,), limit_s)
    if answer is None:
        return {"error": other}
    return {**answer, "torch": {"error": failure}}


def _asked(arguments: tuple[str, ...], limit_s: float) -> tuple[dict[str, Any] | None, str]:
    """The answer; or None, and how the process ended, in one clause."""
    # The child must find this very suite, wherever the asker found it.
    life = Life()
    environ = {
        **os.environ,
        **life.environment(),
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", _SURVEY, *arguments],
            env=environ,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=limit_s,
            pass_fds=(life.handed.fileno(),),
        )
    except subprocess.TimeoutExpired:
        return None, f"importing torch and asking the drivers took more than {limit_s:g} s"
    except OSError as error:
        return None, f"no process could be started: {error.strerror or error}"
    finally:
        life.end()
    try:
        answer = json_text.loads(done.stdout.strip().rpartition("\n")[2])
    except ValueError:
        answer = None
    if done.returncode == 0 and isinstance(answer, dict):
        return answer, ""
    last = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    detail = f": {last[-1]}" if last else ""
    return None, f"the process that imports torch {_ending(done.returncode)}{detail}"


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
