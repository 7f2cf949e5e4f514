"""`oom-suite compare`: the figures of one result file against those of another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oom_suite.report.comparison import compare_files
from oom_suite.report.screen import print_line, screen

EXIT_GROWN = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare")(compare_command)


def compare_command(
    old: Annotated[Path, typer.Argument(metavar="OLD.json", help="from check or measure --json")],
    new: Annotated[Path, typer.Argument(metavar="NEW.json", help="the same, made later")],
    *,
    across: Annotated[
        bool,
        typer.Option("--across-environments", help="compare although the machines differ"),
    ] = False,
) -> None:
    """Compare the peaks of two result files, call by call.

    Exits 0 when nothing grew, 1 when a figure did or a call is missing, 2 when the files cannot
    be compared: where the environments differ, that takes --across-environments.
    """
    found = compare_files(old, new, across_environments=across)
    console = screen()
    for line in found.lines:
        print_line(console, line)
    raise typer.Exit(EXIT_GROWN if found.has_grown else 0)
