"""`oom-suite replay`: an incident again, in the headroom that was reported, and its fixes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oom_suite.cli import checked
from oom_suite.cli.options import Json, Set, TimeLimit, WorkloadName
from oom_suite.cli.progress import Progress
from oom_suite.cli.settings import read_settings
from oom_suite.errors import UsageError, unknown
from oom_suite.pipeline.replay import Plan, replay
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S
from oom_suite.records.replay import Attempt, Replay
from oom_suite.report.output import Output
from oom_suite.report.replay import render_replay
from oom_suite.report.screen import screen
from oom_suite.targets import visible_gpus
from oom_suite.targets.machine import torch_build
from oom_suite.units import MIB, parse_bytes
from oom_suite.workloads.sparse_mla.geometry.scenarios import scenario as find_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oom_suite.records import Scenario

WAYS = ("ballast", "limit")


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command("replay")
    def replay_command(
        scenario: Annotated[
            str, typer.Argument(metavar="[SCENARIO]", help="the incident")
        ] = "issue-41962",
        subjects: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[SUBJECT]...",
                help="as for check; the incident's own culprit and its fixes when none is given",
            ),
        ] = None,
        *,
        device: Annotated[
            str | None,
            typer.Option(
                "--device",
                help="cpu or cuda (HIP too); a GPU where one is seen",
                callback=checked.device,
            ),
        ] = None,
        headroom: Annotated[
            str | None,
            typer.Option("--headroom", help="bytes left free, such as 12.74GiB; as reported"),
        ] = None,
        by: Annotated[
            str, typer.Option("--by", help="on a GPU: ballast (from the driver) or limit")
        ] = "ballast",
        sizes: Set = None,
        workload: WorkloadName = "decode",
        time_limit: TimeLimit = DEFAULT_TIME_LIMIT_S,
        json: Json = None,
        snapshot: Annotated[
            Path | None,
            typer.Option(
                "--snapshot",
                metavar="FOLDER",
                help="keep the allocator's snapshots in this folder (GPU)",
                callback=checked.snapshot_folder,
            ),
        ] = None,
    ) -> None:
        """Run the culprit out of memory in the headroom of an incident, and its fixes within it.

        Exits 0 when it ran out and every fix ran, 1 when one of them did otherwise, 2 on bad
        usage, 3 when it cannot be run here.
        """
        if by not in WAYS:
            raise unknown("way to leave a headroom", by, WAYS)
        chosen, where = find_scenario(scenario), device or _seen_device()
        _check_device(where, snapshot)
        settings = read_settings(
            scenario, sizes or [], workload, "measure", where, "generic",
            None, time_limit, None,
        )  # fmt: skip
        plan = Plan(
            settings=settings,
            summary=chosen.summary,
            headroom_bytes=_headroom_bytes(headroom, chosen),
            by=by,
            subjects=tuple(subjects or ()),
            snapshot_folder=None if snapshot is None else str(snapshot),
        )
        attempts: list[Attempt] = []
        known: dict[str, Any] = {}

        def body() -> dict[str, Any]:
            return {"replay": known or so_far(plan, attempts)}

        with Output(json, body) as output:

            def on_attempt(attempt: Attempt) -> None:
                attempts.append(attempt)
                output.keep()

            with Progress() as progress:
                story = replay(
                    plan,
                    lambda who, doing: progress.update("replay", f"{who}: {doing}"),
                    on_attempt,
                )
            known |= story.to_json()
            render_replay(story, screen())
            output.finish()
        raise typer.Exit(story.exit_code)


def so_far(plan: Plan, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """What is known of a replay that goes on."""
    settings = plan.settings
    return Replay(
        settings.scenario, plan.summary, settings.sizes, settings.device, plan.headroom_bytes,
        plan.by, tuple(attempts), cannot="it has not ended",
    ).to_json()  # fmt: skip


def _seen_device() -> str:
    return "cuda" if torch_build() and visible_gpus(os.environ).entries else "cpu"


def _check_device(device: str, snapshot: Path | None) -> None:
    """Nothing.

    Raises:
        UsageError: the device keeps no snapshot.
    """
    if device == "cpu" and snapshot is not None:
        msg = f"--snapshot {str(snapshot)!r}: only a GPU's allocator has one; give --device cuda"
        raise UsageError(msg)


def _headroom_bytes(text: str | None, chosen: Scenario) -> int:
    """The bytes that each call has free.

    Raises:
        UsageError: they are not understood, or none were given and none are reported.
    """
    if text is not None:
        try:
            num_bytes = parse_bytes(text, least_bare=MIB)
        except UsageError as error:
            raise UsageError(f"--headroom: {error}") from None
        if num_bytes:
            return num_bytes
        msg = f"--headroom {text!r} is not an amount of memory: give one such as 12.74GiB"
        raise UsageError(msg)
    if chosen.free_bytes is None:
        msg = f"scenario {chosen.name!r} reports no free memory: give --headroom, such as 64MiB"
        raise UsageError(msg)
    return chosen.free_bytes
