"""`oom-suite measure`: predictions against a device, row by row."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from oom_suite.cli import checked
from oom_suite.cli.options import (
    Json,
    OneWorkload,
    Package,
    Quiet,
    Repeat,
    Scenario,
    Set,
    Stub,
    SubjectsAsForCheck,
    Targets,
    TimeLimit,
    Unexplained,
)
from oom_suite.cli.progress import Progress
from oom_suite.cli.settings import first_workload, one_target, read_settings, spelled
from oom_suite.doors import workload as find_workload
from oom_suite.pipeline.measured_rows import measure_all
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S
from oom_suite.records import MeasuredRow
from oom_suite.records.measured_row import EXPLAINED, UNEXPLAINED
from oom_suite.report.measured import render_measured
from oom_suite.report.output import Output
from oom_suite.report.screen import screen
from oom_suite.workloads.sparse_mla.geometry.measured_grid import GRID, GridPoint

EXIT_UNEXPLAINED = 1
EXIT_NOT_RUN = 3
DEFAULT_SCENARIO = "small"

Grid = Annotated[
    bool, typer.Option("--grid", help=f"all {len(GRID)} calls of the fixed list of sizes")
]
Device = Annotated[
    str,
    typer.Option(
        "--device", help="cpu, cuda or cuda:1 (HIP devices are cuda)", callback=checked.device
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("measure")(measure_command)


def measure_command(
    subjects: SubjectsAsForCheck = None,
    *,
    device: Device = "cpu",
    scenario: Scenario = None,
    sizes: Set = None,
    workload: OneWorkload = None,
    grid: Grid = False,
    repeat: Repeat = 1,
    unexplained: Unexplained = "0",
    target: Targets = None,
    time_limit: TimeLimit = DEFAULT_TIME_LIMIT_S,
    json: Json = None,
    quiet: Quiet = False,
    stub: Stub = None,
    package: Package = None,
) -> None:
    """Compare the predicted bytes of each call with what the device's allocator counted.

    Exits 0 when every row is explained, 1 when one is not, 2 on bad usage, 3 when one could
    not be run.
    """
    named = spelled(subjects, stub, package)
    known = find_workload("decode" if grid else first_workload(workload, named))
    usual = DEFAULT_SCENARIO if DEFAULT_SCENARIO in known.scenarios else None
    settings = read_settings(
        scenario or usual,
        sizes or [],
        known.name,
        "measure",
        device,
        one_target(target),
        None,
        time_limit,
        None,
        unexplained,
    )
    name = settings.scenario if not sizes else ",".join([settings.scenario, *sizes])
    points = GRID if grid else (GridPoint(name, settings.workload.name, settings.sizes),)
    rows: list[MeasuredRow] = []
    with Output(json, lambda: _body(list(rows)), row_key="rows") as output:

        def on_row(row: MeasuredRow) -> None:
            rows.append(row)
            output.keep()

        with Progress(quiet=quiet) as progress:
            in_order = measure_all(
                named, points, replace(settings, num_repeats=repeat), progress.update, on_row
            )
        rows[:] = in_order
        render_measured(rows, screen(), quiet=quiet)
        output.finish()
    raise typer.Exit(exit_code(rows))


def exit_code(rows: Sequence[MeasuredRow]) -> int:
    """0 when all rows are explained, 1 when one is not, 3 when one was not run."""
    outcomes = {row.outcome for row in rows}
    if UNEXPLAINED in outcomes:
        return EXIT_UNEXPLAINED
    return EXIT_NOT_RUN if outcomes - {EXPLAINED} else 0


def _body(rows: Sequence[MeasuredRow]) -> dict[str, Any]:
    found = list(dict.fromkeys(row.environment for row in rows if row.environment is not None))
    command = shlex.join(["oom-suite", *sys.argv[1:]])
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": command,
        "measured_on": [environment.to_json() for environment in found],
        "num_rows": len(rows),
        "num_explained": sum(row.outcome == EXPLAINED for row in rows),
        "rows": [row.to_json() for row in rows],
    }
