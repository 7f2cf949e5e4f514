"""`oom-suite bisect`: the release, or with ``--repo`` the commit, at which a verdict changes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from oom_suite.cli.options import Json
from oom_suite.cli.predicates import Asked, asks
from oom_suite.cli.progress import Progress
from oom_suite.cli.settings import first_workload, shadow_settings
from oom_suite.errors import UsageError
from oom_suite.laws.lockfile import DEFAULT_FILE
from oom_suite.pipeline.bisect import bisect_releases
from oom_suite.pipeline.commits.repository import Repository
from oom_suite.pipeline.commits.search import search_commits
from oom_suite.records import Result
from oom_suite.records.commits import Step
from oom_suite.report.commits import render_search, step_line
from oom_suite.report.files import results_body
from oom_suite.report.output import Output
from oom_suite.report.screen import screen
from oom_suite.report.terminal import render_bisection

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
                "--repo", metavar="PATH", help="search the commits of this git repository"
            ),
        ] = None,
        bad: Annotated[
            str | None,
            typer.Option(
                "--bad", help="a release that fails, vllm==VERSION; with --repo a commit, or HEAD"
            ),
        ] = None,
        good: Annotated[
            str | None,
            typer.Option(
                "--good",
                help="one that passes, older or newer; the newest release where not given",
            ),
        ] = None,
        json: Json = None,
    ) -> None:
        """Find the release or the commit between a good and a bad one at which the verdict changes.

        Both ends are judged first. Exits 0 when it is found, 2 on bad usage and where an end is
        not as claimed, 3 when it may be in one that could not be judged.
        """
        if repo is not None:
            raise typer.Exit(_search(asked, repo, good, bad or "HEAD", json))
        if bad is None:
            raise UsageError("give --bad vllm==VERSION, or for commits --repo PATH and --good REV")
        _refuse_for_releases(asked)
        name = first_workload(asked.workload, [bad])
        settings = shadow_settings(
            asked.scenario, asked.sizes, name, asked.target, asked.budget, asked.time_limit
        )
        tried: list[Result] = []
        with Output(json, lambda: results_body(list(tried))) as output:
            with Progress() as progress:

                def on_result(result: Result) -> None:
                    tried.append(result)
                    output.keep()
                    progress.finish(result)

                found = bisect_releases(good, bad, settings, progress.update, on_result)
            tried[:] = found.tried
            render_bisection(found, screen())
            output.finish()
        raise typer.Exit(EXIT_OPEN if found.unjudged else 0)


def _search(asked: Asked, repo: str, good: str | None, bad: str, json: Json) -> int:
    """Search the commits of a repository; the exit code."""
    if good is None:
        raise UsageError("--repo needs a good commit: add --good REV")
    predicate = asked.predicate()
    repository = Repository.at(repo)
    steps: list[Step] = []
    known: dict[str, Any] = {}

    def body() -> dict[str, Any]:
        return {"bisection": known or {"steps": [step.to_json() for step in list(steps)]}}

    with Output(json, body) as output:
        with Progress() as progress:

            def on_step(step: Step) -> None:
                steps.append(step)
                output.keep()
                progress.done(asked.subject or str(asked.test), step_line(step))

            found = search_commits(repository, good, bad, predicate, progress.update, on_step)
        known |= found.to_json()
        render_search(found, screen())
        output.finish()
    return EXIT_OPEN if found.unjudged else 0


def _refuse_for_releases(asked: Asked) -> None:
    """Nothing, where no option was given that is for commits alone."""
    given = {
        "SUBJECT": asked.subject,
        "--test": asked.test,
        "--axis": asked.axis,
        "--at-most": asked.at_most,
        "--locked": asked.locked,
        "--file": asked.file != DEFAULT_FILE,
        "--stub": asked.stub,
        "--package": asked.package,
    }
    named = [name for name, value in given.items() if value]
    if named:
        raise UsageError(f"{named[0]} is for the commits of a repository: add --repo PATH")
