"""`oom-suite probe`: one step of `git bisect run`."""

from __future__ import annotations

import sys
from typing import Annotated, Any, NoReturn

import typer

from oom_suite.cli.options import Json
from oom_suite.cli.predicates import Asked, asks
from oom_suite.errors import OomSuiteError
from oom_suite.pipeline.commits.kept import judged_to_json
from oom_suite.pipeline.commits.probe import EXIT_SKIP, EXIT_STOP, is_bisecting, probe
from oom_suite.pipeline.settings import silent
from oom_suite.report.commits import render_answer
from oom_suite.report.output import Output
from oom_suite.report.screen import say_error, screen


def usage_code() -> int:
    """The exit code of words that cannot be read: they are wrong at every commit of a search."""
    return EXIT_STOP if is_bisecting() else EXIT_SKIP


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command("probe")
    @asks
    def probe_command(
        asked: Asked,
        *,
        expect: Annotated[
            str, typer.Option("--expect", help="good; or bad, to find the commit that repaired it")
        ] = "good",
        good: Annotated[
            str,
            typer.Option(
                "--good",
                metavar="REV",
                help="the good end, which is checked first; a running git bisect's by default",
            ),
        ] = "",
        json: Json = None,
    ) -> None:
        """Judge one commit for `git bisect run`: exit 0 good, 1 bad, 125 neither, 128 stop.

        The good end of a running git bisect is judged first, once: where the same question is
        not answered with "good" there, the search is stopped. In a checkout of vLLM:
        git bisect run oom-suite probe vllm@.
        """
        known: dict[str, Any] = {}
        try:
            with Output(json, lambda: known) as output:
                answer = probe(asked.predicate(), expect, good, silent)
                render_answer(answer.judged, answer.good, answer.diff, screen())
                known["probe"] = {
                    "verdict": answer.judged.verdict.value,
                    "reason": answer.judged.reason,
                    **judged_to_json(answer.judged),
                }
                output.finish()
        except OomSuiteError as error:
            say_error(error)
            raise typer.Exit(usage_code()) from None
        except Exception as error:
            _ended_by_itself(error)
        if answer.refusal:
            say_error(f"{answer.refusal}; the search is stopped, no commit is to blame")
        raise typer.Exit(answer.code)


def _ended_by_itself(error: Exception) -> NoReturn:
    """End with no verdict on the commit: the suite itself failed."""
    say_error(f"an error of the suite itself: {type(error).__name__}: {error}")
    sys.exit(EXIT_SKIP)
