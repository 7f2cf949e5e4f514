"""`oom-suite conformance`: torch's own operators, predicted and held against this device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oom_suite.cli import checked
from oom_suite.cli.progress import Progress
from oom_suite.errors import UsageError
from oom_suite.pipeline.conformance.cases import SUITES
from oom_suite.records import Verdict
from oom_suite.records.conformance import Conformance
from oom_suite.report.conformance import render_conformance
from oom_suite.report.output import Output
from oom_suite.report.screen import screen

EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 3}


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command("conformance")
    def conformance_command(
        *,
        device: Annotated[
            str | None,
            typer.Option(
                "--device",
                help="what is measured: cpu (where not given) or cuda (HIP devices too)",
                callback=checked.device,
            ),
        ] = None,
        against: Annotated[
            Path | None,
            typer.Option(
                "--against",
                metavar="FILE",
                help="predict again what this file of --out says was measured; needs no device",
            ),
        ] = None,
        out: Annotated[
            Path | None,
            typer.Option(
                "--out",
                metavar="FILE",
                help="write every call to this JSON file; - for standard output",
                callback=checked.json_file,
            ),
        ] = None,
        only: Annotated[
            list[str] | None,
            typer.Option("--only", metavar="NAME", help="an operator, module, call; repeatable"),
        ] = None,
        operators: Annotated[
            bool, typer.Option("--operators", help="torch's operator database")
        ] = False,
        modules: Annotated[
            bool, typer.Option("--modules", help="torch's module database, forward and training")
        ] = False,
        scaled: Annotated[
            bool, typer.Option("--scaled", help="operators with scratch, at sizes that matter")
        ] = False,
        models: Annotated[
            bool, typer.Option("--models", help="small models of transformers and timm")
        ] = False,
        limit_s: Annotated[
            float | None,
            typer.Option(
                "--limit-s",
                help="begin nothing after these seconds",
                min=1,
                callback=checked.seconds,
            ),
        ] = None,
    ) -> None:
        """Hold predictions of torch's operators and modules against a device.

        The device is the one that is here; with --against one that is not, whose figures a file
        has. Without a choice of suites: operators, modules and scaled, or all of the file. Exits
        0 when no prediction is off without a word, 1 when one is, 2 on bad usage, 3 when too
        little was compared.
        """
        # Only who runs it waits for what running imports.
        from oom_suite.pipeline.conformance import again, run

        if against is not None and device is not None:
            raise UsageError("--device: the file of --against was measured on its own device")
        before = None if against is None else again.kept_run(against)
        asked = {"operators": operators, "modules": modules, "scaled": scaled, "models": models}
        suites = tuple(name for name, is_asked in asked.items() if is_asked)
        options = run.Options(
            device=device or "cpu",
            suites=suites or (("operators", "modules", "scaled") if before is None else SUITES),
            only=tuple(only or ()),
            limit_s=limit_s,
        )

        known = [before or Conformance(options.device, "", (), (), 0.0)]
        with Output(out, lambda: known[0].to_json(), row_key="rows") as output:

            def keep(so_far: Conformance) -> None:
                known[0] = so_far
                output.keep()

            with Progress() as progress:
                if before is None:
                    found = run.conformance(options, progress.update, keep)
                else:
                    found = again.conformance_again(before, options, progress.update, keep)
                known[0] = found
            render_conformance(found, screen())
            output.finish()
        raise typer.Exit(EXIT_CODES[found.verdict])
