"""`oom-suite sanitize SUBJECT`: one step under compute-sanitizer."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console

from oom_suite.cli.options import Json, Scenario, TimeLimit, WorkloadName
from oom_suite.report.output import Output
from oom_suite.report.rows import printable
from oom_suite.report.screen import screen
from oom_suite.sanitizers.record import SanitizerOutcome, SanitizerRun
from oom_suite.sanitizers.run import TOOLS, sanitize

EXIT_CODES = {SanitizerOutcome.CLEAN: 0, SanitizerOutcome.FOUND: 1}
EXIT_NOTHING_LEARNT = 3


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command("sanitize")
    def sanitize_command(
        subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="as for check")],
        *,
        tool: Annotated[str, typer.Option("--tool", help=", ".join(TOOLS))] = "memcheck",
        scenario: Scenario = None,
        workload: WorkloadName = "decode",
        time_limit: TimeLimit = 600.0,
        json: Json = None,
    ) -> None:
        """Run one step under compute-sanitizer, where it is installed, and read its report.

        Exits 0 when it is clean, 1 on errors, 2 on bad usage, 3 when it could not run.
        """
        known: dict[str, Any] = {"sanitizer": None}
        with Output(json, lambda: known) as output:
            run = sanitize(
                subject,
                tool=tool,
                scenario=scenario or "small",
                workload=workload,
                time_limit_s=time_limit,
            )
            known["sanitizer"] = run.to_json()
            render_sanitizer(run, screen())
            output.finish()
        raise typer.Exit(EXIT_CODES.get(run.outcome, EXIT_NOTHING_LEARNT))


_WORDS = {SanitizerOutcome.CLEAN: "PASS", SanitizerOutcome.FOUND: "FAIL"}


def render_sanitizer(run: SanitizerRun, console: Console) -> None:
    """Write the verdict, and each hit with its place."""
    word = _WORDS.get(run.outcome, "INCONCLUSIVE")
    why = run.reason if run.outcome in _WORDS else f"{run.outcome.value}: {run.reason}"
    _print(console, f"{word} {run.subject} under {run.tool}: {why}")
    for hit in run.hits:
        at = f" at {hit.frame}" if hit.frame else ""
        _print(console, f"  {hit.kind}: {hit.text}{at}")


def _print(console: Console, line: str) -> None:
    console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
