"""`oom-suite law SUBJECT`: the formula, what it assumes, its terms, its values, what fits."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from oom_suite.cli.options import (
    BudgetText,
    Html,
    Json,
    OneWorkload,
    Package,
    Scenario,
    Set,
    Stub,
    Targets,
    TimeLimit,
)
from oom_suite.cli.progress import Progress
from oom_suite.cli.settings import first_workload, shadow_settings, spelled
from oom_suite.pipeline.law_page import full_studies, law_page
from oom_suite.report.html import write_law_page
from oom_suite.report.law_page import render_law
from oom_suite.report.output import Output, delivered
from oom_suite.report.screen import say, screen

EXIT_NO_LAW = 3


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command("law")
    def law_command(
        subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="as for check")],
        *,
        scenario: Scenario = None,
        sizes: Set = None,
        workload: OneWorkload = None,
        target: Targets = None,
        budget: BudgetText = None,
        time_limit: TimeLimit = 120.0,
        json: Json = None,
        html: Html = None,
        stub: Stub = None,
        package: Package = None,
    ) -> None:
        """Show the law of a subject: formula, assumptions, terms and their lines, what fits.

        Exits 0 when it has one, 2 on bad usage, 3 when none was found.
        """
        (subject,) = spelled([subject], stub, package)
        name = first_workload(workload, [subject])
        settings = shadow_settings(scenario, sizes, name, target, budget, time_limit)
        known: dict[str, Any] = {"law": None}
        with Output(json, lambda: known) as output:
            with Progress() as progress:
                (found,) = full_studies(
                    [subject], settings, progress.update, progress.finish, compares=True
                )
            page, result = law_page(found, settings), found.study.result
            if page is None:
                known |= {"subject": subject, "reason": result.reason}
                say(f"INCONCLUSIVE {subject}: no law was found: {result.reason}")
            else:
                known["law"] = {**page.to_json(), "target": result.target}
                render_law(page, screen())
            output.finish()
        if page is None:
            raise typer.Exit(EXIT_NO_LAW)
        if html is not None:
            delivered(write_law_page, page, result, html)
