"""`oom-suite selfcheck`: the detectors, tried on planted faults and on healthy twins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oom_suite.cli import checked
from oom_suite.cli.options import Json
from oom_suite.cli.progress import Progress
from oom_suite.errors import UsageError, unknown
from oom_suite.records.selfcheck import LIMIT_GROUP, SelfCheck, Trial
from oom_suite.report.output import Output
from oom_suite.report.screen import screen
from oom_suite.report.selfcheck import render_selfcheck, wrong_text

if TYPE_CHECKING:
    from oom_suite.selfcheck.run import Options

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


def so_far(trials: Sequence[Trial], options: Options) -> dict[str, Any]:
    """What is known of a run that goes on: the growth that is caught comes at its end."""
    half = "" if options.half is None else options.half.value
    return SelfCheck(options.device, tuple(trials), None, False, 0, half).to_json()


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
            str,
            typer.Option(
                "--device",
                help="where real tensors lie: cpu or cuda (HIP too)",
                callback=checked.device,
            ),
        ] = "cpu",
        json: Json = None,
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
        trials: list[Trial] = []
        known: dict[str, Any] = {}

        def body() -> dict[str, Any]:
            return {"selfcheck": known or so_far(trials, options)}

        with Output(json, body) as output:
            with Progress() as progress:
                show = _show_on(progress)

                def on_trial(trial: Trial) -> None:
                    trials.append(trial)
                    output.keep()
                    show(trial)

                found = selfcheck(options, on_trial)
            known |= found.to_json()
            render_selfcheck(found, screen())
            output.finish()
        raise typer.Exit(0 if found.is_good else 1)
