"""`oom-suite selfcheck`: the detectors, tried on planted faults and on healthy twins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from oom_suite.cli.progress import Progress
from oom_suite.errors import UsageError, unknown
from oom_suite.records.selfcheck import LIMIT_GROUP, Trial
from oom_suite.report.files import write_body
from oom_suite.report.screen import screen
from oom_suite.report.selfcheck import render_selfcheck, wrong_text

_DEVICES = ("cpu", "cuda")
_SHOW_EVERY = 50


def _show_on(progress: Progress) -> Callable[[Trial], None]:
    """Shows each wrong trial at once, so that a run that is interrupted has shown them."""
    num_tried = 0

    def on_trial(trial: Trial) -> None:
        nonlocal num_tried
        num_tried += 1
        if not trial.is_right and trial.group != LIMIT_GROUP:
            progress.done(trial.name, wrong_text(trial))
        elif num_tried % _SHOW_EVERY == 0:
            progress.done("selfcheck", f"{num_tried} tried")
        progress.update("selfcheck", f"{num_tried} tried, last {trial.name}")

    return on_trial


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command("selfcheck")
    def selfcheck_command(
        *,
        only: Annotated[
            str | None,
            typer.Option(
                "--only",
                metavar="NAME",
                help="a group (growth) or one fault (growth:clone_of_pool)",
            ),
        ] = None,
        half: Annotated[
            str | None,
            typer.Option("--half", help="quick: each fault and twin once; long: all other trials"),
        ] = None,
        device: Annotated[
            str, typer.Option("--device", help="where real tensors lie: cpu or cuda (HIP too)")
        ] = "cpu",
        json: Annotated[Path | None, typer.Option("--json", help="write it to this file")] = None,
    ) -> None:
        """Try the detectors on planted faults and healthy twins: what they catch and miss.

        Exits 0 when every fault is caught and named rightly, no healthy twin raises an alarm, and
        growth of one byte per 8 blocks is caught; 1 otherwise, 2 on bad usage.
        """
        from oom_suite.selfcheck.run import Options, selfcheck
        from oom_suite.selfcheck.tasks import Half

        if device not in _DEVICES:
            msg = f"--device is {device!r}: choose {' or '.join(_DEVICES)}"
            raise UsageError(msg)
        halves = {one.value: one for one in Half}
        if half is not None and half not in halves:
            raise unknown("half", half, halves)
        options = Options(only=only, half=None if half is None else halves[half], device=device)
        with Progress() as progress:
            found = selfcheck(options, _show_on(progress))
        render_selfcheck(found, screen())
        if json is not None:
            write_body({"selfcheck": found.to_json()}, json)
        raise typer.Exit(0 if found.is_good else 1)
