"""`oom-suite bisect`: the release, commit or combination of versions at which a verdict changes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from oom_suite.cli.options import Json
from oom_suite.cli.predicates import Asked, asks
from oom_suite.cli.progress import Progress
from oom_suite.cli.searches import Ends, Stage, of_commits, of_pairs, of_releases
from oom_suite.errors import UsageError
from oom_suite.pipeline.releases import is_release
from oom_suite.records.commits import CommitSearch, Step
from oom_suite.report.commits import render_search, step_line
from oom_suite.report.output import Output
from oom_suite.report.screen import say, screen

EXIT_OPEN = 3
"""The change is in one of several commits or releases, some of which could not be judged."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command("bisect")
    @asks
    def bisect_command(
        asked: Asked,
        *,
        repo: Annotated[
            str | None,
            typer.Option(
                "--repo",
                metavar="PATH",
                help="search the commits of this git repository; with releases as ends, the "
                "release first, and then its commits",
            ),
        ] = None,
        bad: Annotated[
            str | None,
            typer.Option(
                "--bad",
                help="a release that fails, vllm==VERSION; versions that do, vllm==VERSION,"
                "torch==VERSION; with --repo a commit, or HEAD",
            ),
        ] = None,
        good: Annotated[
            str | None,
            typer.Option(
                "--good",
                help="one that passes, older or newer; the newest release where not given",
            ),
        ] = None,
        walk: Annotated[
            bool, typer.Option("--walk", help="judge every release between the two ends")
        ] = False,
        fresh: Annotated[
            bool, typer.Option("--fresh", help="judge all anew, whatever was found before")
        ] = False,
        by: Annotated[
            str | None,
            typer.Option(
                "--by",
                metavar="COMMAND",
                help="ask another command of the suite about each release, {} in it: 'check {} "
                "--safety'; good where it exits 0, bad where 1",
            ),
        ] = None,
        json: Json = None,
    ) -> None:
        """Find the release or the commit between a good and a bad one at which the verdict changes.

        Both ends are judged first. Exits 0 when it is found, 2 on bad usage and where an end is
        not as claimed, 3 when it may be in one that could not be judged.
        """
        ends = Ends(good, bad, walk, fresh, by)
        if by is not None and (repo is not None or not is_release(bad)):
            raise UsageError("--by is for releases: give --bad vllm==VERSION, and no --repo")
        if repo is None and "==" in (bad or "") and not is_release(bad):
            stages = [of_pairs(asked, ends)]
        elif repo is None or is_release(bad):
            stages = of_releases(asked, ends, repo)
        elif walk:
            raise UsageError("--walk is for releases: give two as --good and --bad")
        else:
            stages = [of_commits(asked, ends, repo)]
        raise typer.Exit(_run(stages, json))


def _run(stages: list[Stage], json: Json) -> int:
    """Search in one stage after the other, and print what each ended with; the exit code."""
    known: dict[str, Any] = {}
    found: CommitSearch | None = None
    with Output(json, lambda: known) as output:
        for stage in stages:
            steps: list[Step] = []

            def on_step(step: Step, stage: Stage = stage, steps: list[Step] = steps) -> None:
                steps.append(step)
                known[stage.key] = {"steps": [each.to_json() for each in list(steps)]}
                output.keep()
                progress.done(stage.name, step_line(step))

            with Progress() as progress:
                found = stage.search(found, progress.update, on_step)
            known[stage.key] = found.to_json()
            if stage is not stages[0]:
                say("")
            render_search(found, screen())
        output.finish()
    return EXIT_OPEN if found is not None and found.unjudged else 0
