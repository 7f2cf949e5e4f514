"""`oom-suite record` and `oom-suite history`."""

from __future__ import annotations

import json as json_module
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oom_suite.cli.options import Json, Quiet, Scenario
from oom_suite.errors import UsageError, unknown
from oom_suite.report.output import Output
from oom_suite.report.screen import say

if TYPE_CHECKING:
    from oom_suite.history.life import Life, Step
    from oom_suite.history.store import Store

StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="where results are kept: a SQLite file, or postgresql://USER@HOST/DATABASE; by "
        "default what OOM_SUITE_STORE names, else a file of yours",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("record")(record_command)
    app.command("history")(history_command)


def record_command(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE.json...", help="what --json wrote; patterns are filled in; - for stdin"
        ),
    ],
    *,
    store: StoreUrl = None,
    commit: Annotated[
        str | None,
        typer.Option(
            "--commit",
            metavar="REV",
            help="the commit of the code under test, where the files do not say it",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Keep the results of check, law, measure, bench and scan, each once.

    Exits 0 when all are kept, 2 on bad usage and where they cannot be.
    """
    from oom_suite.history.reading import read_files

    read = read_files(files, commit)
    with _opened(store) as kept:
        for file in read:
            num_new = kept.record(file.results)
            cut = "" if file.is_complete else ", of a command that did not come to its end"
            if not quiet:
                results = f"{len(file.results)} result{'s' * (len(file.results) != 1)}"
                say(f"{file.path}: {results}{cut}, {num_new} new, in {kept.shown}")


def history_command(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="[SUBJECT]", help="vllm for all its releases, or a spelling; a list without it"
        ),
    ] = None,
    *,
    workload: Annotated[str | None, typer.Option("--workload", help="of this workload")] = None,
    target: Annotated[str | None, typer.Option("--target", help="for this target")] = None,
    scenario: Scenario = None,
    torch: Annotated[str | None, typer.Option("--torch", help="made with this torch")] = None,
    commit: Annotated[
        str | None, typer.Option("--commit", metavar="REV", help="of this commit alone")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE", help="made then or later, 2026-11-28")
    ] = None,
    steps: Annotated[bool, typer.Option("--steps", help="only where something changed")] = False,
    store: StoreUrl = None,
    json: Json = None,
) -> None:
    """Show a subject's life: its law and its peak by release, commit and time, and each step.

    Exits 0, and 2 on bad usage and where nothing of that kind is recorded.
    """
    from oom_suite.history.life import lives
    from oom_suite.history.show import life_json, life_lines, summary_lines

    first = _moment(since)
    with _opened(store) as kept:
        if not kept.exists():
            raise UsageError(f"nothing is recorded in {kept.shown}: oom-suite record FILE.json")
        found = kept.results(
            subject=subject, workload=workload, target=target, scenario=scenario, torch=torch
        )
        found = [
            each
            for each in found
            if each.made_at >= first and each.code_commit.startswith(commit or "")
        ]
        if not found:
            raise _nothing(kept, subject)
        shown = [_with_lines(life, kept) for life in lives(found)]
    with Output(json, lambda: {"history": [life_json(life) for life in shown]}) as output:
        if subject is None and not steps:
            lines = list(summary_lines(shown))
        else:
            shown = [life for life in shown if life.steps or not steps]
            lines = [line for life in shown for line in life_lines(life, only_steps=steps)]
        for line in lines or ["no step is recorded"]:
            say(line)
        output.finish()


def _opened(given: str | None) -> Store:
    """The store that was asked for.

    Raises:
        UsageError: it is none, or a package that it needs is not installed.
    """
    try:
        from oom_suite.history.store import Store, store_url
    except ModuleNotFoundError as error:
        raise UsageError(
            f"a history needs {error.name}, which is not installed: pip install oom-suite[history]"
        ) from error
    return Store(store_url(given))


def _moment(since: str | None) -> str:
    if since is None:
        return ""
    try:
        return datetime.fromisoformat(since).isoformat()
    except ValueError:
        raise UsageError(f"--since {since!r} is no date: write it like 2026-11-28") from None


def _nothing(kept: Store, subject: str | None) -> UsageError:
    known = {name for each in kept.results() for name in (each.line, each.subject)}
    if subject is not None and known and subject not in known:
        return unknown("subject", subject, known)
    return UsageError(
        f"nothing is recorded in {kept.shown} that is so: leave out an option, or record results "
        "with oom-suite record FILE.json"
    )


def _with_lines(life: Life, kept: Store) -> Life:
    """The life, with the lines of code behind each of its steps."""
    from oom_suite.history.life import lines_of

    bodies = kept.bodies(step.loud.key for step in life.steps)

    def found(step: Step) -> Step:
        body: dict[str, Any] = json_module.loads(bodies[step.loud.key])
        return replace(step, lines=lines_of(body, step.terms))

    return replace(life, steps=tuple(map(found, life.steps)))
