"""`oom-suite scan RELEASE...`: every workload that it has, as one table of laws."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oom_suite.cli.options import Html, Json, Quiet, Targets, TimeLimit
from oom_suite.cli.progress import Progress
from oom_suite.cli.settings import read_targets
from oom_suite.errors import UsageError
from oom_suite.pipeline.scan.run import run_units
from oom_suite.pipeline.scan.units import own_code, releases_between, units_of, versions_of
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S
from oom_suite.records.scan import ScanRow, Unit, changes, exit_code
from oom_suite.records.shards import Shard
from oom_suite.report.files import is_replaced
from oom_suite.report.html import write_scan_page
from oom_suite.report.merging import merged_scan, rows_to_keep
from oom_suite.report.output import Output, delivered
from oom_suite.report.scan import WORDS, closing_line, render_scan
from oom_suite.report.screen import say, screen
from oom_suite.subjects import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

Crew = Callable[..., object]
"""`run_units` or one that takes the same, told already how many or where."""
_MAX_JOBS = 1024
_ADDRESS = re.compile(r"[a-z]+://[^\s/]+:\d+", re.ASCII)
_SHARD = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command("scan")
    def scan_command(
        subjects: Annotated[
            list[str],
            typer.Argument(
                metavar="SUBJECT", help="as for check: vllm==VERSION ...; files with --merge"
            ),
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
        scheduler: Annotated[
            str | None,
            typer.Option(
                "--scheduler",
                metavar="ADDRESS",
                help="judge the units on the workers of this Dask scheduler, tcp://HOST:PORT",
            ),
        ] = None,
        shard: Annotated[
            str | None,
            typer.Option(
                "--shard", metavar="I/N", help="only the I-th of N shares of the units, from 1 on"
            ),
        ] = None,
        merge: Annotated[
            bool,
            typer.Option(
                "--merge", help="run nothing: put together the --json files of all shards"
            ),
        ] = False,
        resume: Annotated[
            bool,
            typer.Option(
                "--resume", help="judge only what the --json file of an interrupted scan has not"
            ),
        ] = False,
        time_limit: TimeLimit = DEFAULT_TIME_LIMIT_S,
        json: Json = None,
        html: Html = None,
        quiet: Quiet = False,
    ) -> None:
        """Judge every workload that releases have code for, as one table of laws.

        Exits 0 when all promises of SUBJECT are kept, 1 when one is broken, 2 on bad usage, 3 when
        one cannot be judged. What a release does not have is named and breaks nothing.
        """
        made = None
        crew = _crew(scheduler, jobs)
        if merge:
            merged = merged_scan([Path(name) for name in subjects])
            units = tuple(row.unit for row in merged.rows)
            rows = list(merged.rows)
            scan = _Scan(merged.subjects, units, merged.compares, None, merged.own_code, rows)
            made = merged.made
        else:
            named = _named(subjects, since, every=every)
            units = units_of(named, read_targets(target), workload or ())
            own = own_code(named)
            scan = _Scan(named, *_share(units, shard, compares=since is not None), own)
            if resume:
                scan.rows.extend(_known(json, scan.units, own, quiet=quiet))
        with Output(json, scan.body, made=made) as output:
            if not merge:
                _run(scan, output, crew, time_limit, quiet=quiet)
            _show(scan, quiet=quiet)
            output.finish()
        if html is not None:
            delivered(write_scan_page, scan.in_order(), scan.subjects, html)
        # What they are compared with is judged by whoever scans that.
        is_compared = scan.compares or (scan.shard is not None and scan.shard.compares)
        judged = scan.subjects[-1:] if is_compared else scan.subjects
        raise typer.Exit(exit_code(row for row in scan.rows if row.unit.subject in judged))


@dataclass(frozen=True, slots=True)
class _Scan:
    """What is scanned, and what of it is known by now.

    Attributes:
        subjects: in their order.
        units: those that are judged here, in their order.
        compares: whether what changed from each subject to the next is said here.
        shard: the share of a scan that this is; None for all of it.
        own_code: as of `oom_suite.pipeline.scan.units.own_code`.
        rows: what was found, as it came.
    """

    subjects: tuple[str, ...]
    units: tuple[Unit, ...]
    compares: bool
    shard: Shard | None = None
    own_code: Mapping[str, str] = field(default_factory=dict)
    rows: list[ScanRow] = field(default_factory=list)

    def in_order(self) -> list[ScanRow]:
        """What was found, in the order of the units."""
        place = {unit: number for number, unit in enumerate(self.units)}
        return sorted(self.rows, key=lambda row: place[row.unit])

    def body(self) -> dict[str, Any]:
        """What the JSON file has of it, all or what there is by now."""
        rows = self.in_order()
        body: dict[str, Any] = {
            "subjects": list(self.subjects),
            "num_units": len(self.units),
            "rows": [row.to_json() for row in rows],
        }
        if self.compares:
            body["changes"] = [change.to_json() for change in changes(rows, self.subjects)]
        if self.own_code:
            body["own_code"] = dict(self.own_code)
        if self.shard is not None:
            body["shard"] = self.shard.to_json()
        return {"scan": body}


def _share(
    units: tuple[Unit, ...], text: str | None, *, compares: bool
) -> tuple[tuple[Unit, ...], bool, Shard | None]:
    """The units that are judged here, whether they are compared here, and the share they are.

    Raises:
        UsageError: it is not such as 2/4.
    """
    if text is None:
        return units, compares, None
    read = _SHARD.fullmatch(text)
    number, num_shards = map(int, read.groups()) if read else (0, 0)
    if not 1 <= number <= num_shards:
        raise UsageError(f"--shard {text!r}: give I/N, the I-th of N shares, as 1/4 to 4/4")
    shard = Shard(number, num_shards, tuple(unit.key for unit in units), compares)
    # A release and the one before it may be in two shares: the merged scan compares.
    return shard.own(units), False, shard


def _crew(scheduler: str | None, num_jobs: int | None) -> Crew:
    """What judges units: this machine, or the workers of a scheduler.

    Raises:
        UsageError: it is no scheduler's address, or the package that knows them is missing.
    """
    if scheduler is None:
        return functools.partial(run_units, num_jobs=num_jobs or os.cpu_count() or 1)
    if not _ADDRESS.fullmatch(scheduler):
        msg = f"--scheduler {scheduler!r}: give the address of a Dask scheduler, tcp://HOST:PORT"
        raise UsageError(msg)
    try:
        from oom_suite.pipeline.scan.cluster import run_on_cluster
    except ModuleNotFoundError as error:
        msg = f"--scheduler needs {error.name}, which is not installed: "
        raise UsageError(msg + "pip install oom-suite[fleet]") from error
    return functools.partial(run_on_cluster, address=scheduler)


def _known(
    json: Path | None,
    units: tuple[Unit, ...],
    own: Mapping[str, str],
    *,
    quiet: bool,
) -> tuple[ScanRow, ...]:
    """The rows that the file has already; what is judged again is said.

    Raises:
        UsageError: there is no file to read, or its rows are not those of this scan.
    """
    if json is None or not is_replaced(json):
        raise UsageError("--resume goes on with the rows of a file: add --json FILE, that one")
    rows, changed = rows_to_keep(json, units, own)
    with Progress(quiet=quiet) as progress:
        for name in changed:
            progress.done(name, f"{name} is judged again: nothing tells that its code is the same")
        progress.done("", f"{len(rows)} of {len(units)} units were judged before")
    return rows


def _run(scan: _Scan, output: Output, crew: Crew, time_limit_s: float, *, quiet: bool) -> None:
    """Judge the units; each row is written as it comes."""
    with Progress(quiet=quiet) as progress:

        def on_row(row: ScanRow, worker: str) -> None:
            scan.rows.append(row)
            output.keep()
            name = f"{row.unit.subject} ({row.unit.workload})"
            done = f"{len(scan.rows)} of {len(scan.units)}"
            by = f", by {worker}" * bool(worker)
            progress.done(name, f"{done}: {row.unit.key}: {WORDS[row.found]}{by}")

        known = {row.unit for row in scan.rows}
        left = [unit for unit in scan.units if unit not in known]
        crew(left, on_row=on_row, on_progress=progress.update, time_limit_s=time_limit_s)


def _show(scan: _Scan, *, quiet: bool) -> None:
    if quiet:
        say(closing_line(scan.rows))
        return
    render_scan(scan.in_order(), scan.subjects, screen(), compares=scan.compares)
    if scan.shard is not None:
        how_many = f"{len(scan.units)} of {len(scan.shard.keys)} units"
        say(f"{scan.shard}: {how_many}; oom-suite scan --merge FILE... makes one table of all")


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
