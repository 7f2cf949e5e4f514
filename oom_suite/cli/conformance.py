"""`oom-suite conformance`: torch's own operators, predicted and held against this device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oom_suite.cli.progress import Progress
from oom_suite.errors import UsageError
from oom_suite.records import Verdict
from oom_suite.report.conformance import render_conformance
from oom_suite.report.files import write_body
from oom_suite.report.screen import screen

if TYPE_CHECKING:
    from oom_suite.records.conformance import Conformance

EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 3}


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command("conformance")
    def conformance_command(
        *,
        device: Annotated[
            str, typer.Option("--device", help="what is measured: cpu or cuda (HIP devices too)")
        ] = "cpu",
        out: Annotated[
            Path | None, typer.Option("--out", help="write every call to this JSON file")
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
            float | None, typer.Option("--limit-s", help="begin nothing after these seconds", min=1)
        ] = None,
    ) -> None:
        """Hold predictions of torch's operators and modules against the device that is here.

        Without a choice of suites: operators, modules and scaled. Exits 0 when no prediction is
        off without a word, 1 when one is, 2 on bad usage, 3 when too little was compared.
        """
        # Only who runs it waits for what running imports.
        from oom_suite.pipeline.conformance.run import Options, conformance

        if device.partition(":")[0] not in {"cpu", "cuda"}:
            raise UsageError(f"--device is {device!r}: choose cpu or cuda")
        asked = {"operators": operators, "modules": modules, "scaled": scaled, "models": models}
        suites = tuple(name for name, is_asked in asked.items() if is_asked)
        options = Options(
            device=device,
            suites=suites or ("operators", "modules", "scaled"),
            only=tuple(only or ()),
            limit_s=limit_s,
        )

        def keep(known: Conformance) -> None:
            if out is not None:
                write_body(known.to_json(), out, row_key="rows")

        with Progress() as progress:
            found = conformance(options, progress.update, keep)
        keep(found)
        render_conformance(found, screen())
        raise typer.Exit(EXIT_CODES[found.verdict])
