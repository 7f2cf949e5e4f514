"""`oom-suite scan RELEASE...`: every workload that it has, as one table of laws."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from oom_suite.cli.options import Html, Json, Quiet, Targets, TimeLimit
from oom_suite.cli.progress import Progress
from oom_suite.cli.settings import read_targets
from oom_suite.errors import UsageError
from oom_suite.pipeline.scan.run import run_units
from oom_suite.pipeline.scan.units import releases_between, units_of, versions_of
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S
from oom_suite.records.scan import ScanRow, changes, exit_code
from oom_suite.report.html import write_scan_page
from oom_suite.report.output import Output, delivered
from oom_suite.report.scan import WORDS, closing_line, render_scan
from oom_suite.report.screen import say, screen
from oom_suite.subjects import parse

_MAX_JOBS = 1024


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command("scan")
    def scan_command(
        subjects: Annotated[
            list[str], typer.Argument(metavar="SUBJECT", help="as for check: vllm==VERSION ...")
        ],
        *,
        since: Annotated[
            str | None,
            typer.Option(
                "--since",
                metavar="SUBJECT",
                help="an earlier release, which is scanned too; says what changed",
            ),
        ] = None,
        every: Annotated[
            bool, typer.Option("--every", help="with --since: every release between, too")
        ] = False,
        workload: Annotated[
            list[str] | None,
            typer.Option("--workload", help="only this workload; repeatable"),
        ] = None,
        target: Targets = None,
        jobs: Annotated[
            int | None,
            typer.Option(
                "--jobs",
                metavar="N",
                min=1,
                max=_MAX_JOBS,
                help="units that run at once; by default one for each CPU",
            ),
        ] = None,
        time_limit: TimeLimit = DEFAULT_TIME_LIMIT_S,
        json: Json = None,
        html: Html = None,
        quiet: Quiet = False,
    ) -> None:
        """Judge every workload that releases have code for, as one table of laws.

        Exits 0 when all promises of SUBJECT are kept, 1 when one is broken, 2 on bad usage, 3 when
        one cannot be judged. What a release does not have is named and breaks nothing.
        """
        named = _named(subjects, since, every=every)
        units = units_of(named, read_targets(target), workload or ())
        rows: list[ScanRow] = []
        place = {unit: number for number, unit in enumerate(units)}

        def in_order() -> list[ScanRow]:
            return sorted(rows, key=lambda row: place[row.unit])

        def body() -> dict[str, Any]:
            return {"scan": _body(in_order(), named, len(units), compares=since is not None)}

        with Output(json, body) as output:
            with Progress(quiet=quiet) as progress:

                def on_row(row: ScanRow) -> None:
                    rows.append(row)
                    output.keep()
                    name = f"{row.unit.subject} ({row.unit.workload})"
                    done = f"{len(rows)} of {len(units)}"
                    progress.done(name, f"{done}: {row.unit.key}: {WORDS[row.found]}")

                run_units(units, jobs or os.cpu_count() or 1, on_row, progress.update, time_limit)
            if quiet:
                say(closing_line(rows))
            else:
                render_scan(in_order(), named, screen(), compares=since is not None)
            output.finish()
        if html is not None:
            delivered(write_scan_page, in_order(), named, html)
        # What they are compared with is judged by whoever scans that.
        judged = named if since is None else named[-1:]
        raise typer.Exit(exit_code(row for row in rows if row.unit.subject in judged))


def _named(subjects: list[str], since: str | None, *, every: bool) -> tuple[str, ...]:
    """The subjects in the order to scan them.

    Raises:
        UsageError: an option means nothing without another, or the releases are not in order.
    """
    if since is None:
        if every:
            raise UsageError("--every means nothing without --since: add --since vllm==VERSION")
        return tuple(dict.fromkeys(parse(subject).text for subject in subjects))
    if len(subjects) > 1:
        listed = ", ".join(subjects)
        raise UsageError(f"--since compares with one subject, not with {listed}: give the newest")
    since, subject = parse(since).text, parse(subjects[0]).text
    if every:
        return releases_between(since, subject)
    versions_of(since, subject)
    return since, subject


def _body(
    rows: list[ScanRow], subjects: tuple[str, ...], num_units: int, *, compares: bool
) -> dict[str, Any]:
    """What the JSON file has of a scan, all of it or what there is by now."""
    found = {"subjects": list(subjects), "num_units": num_units}
    body: dict[str, Any] = {**found, "rows": [row.to_json() for row in rows]}
    if compares:
        body["changes"] = [change.to_json() for change in changes(rows, subjects)]
    return body
