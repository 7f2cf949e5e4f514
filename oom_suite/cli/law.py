"""`oom-suite law SUBJECT`: the formula, what it assumes, its terms, its values, what fits."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from oom_suite.cli.options import Arch, BudgetText, Html, Scenario, Set, TimeLimit, WorkloadName
from oom_suite.cli.progress import Progress
from oom_suite.cli.settings import read_settings
from oom_suite.errors import OomSuiteError
from oom_suite.laws.limits import limits
from oom_suite.laws.lines import lines_of
from oom_suite.laws.proof import CLOSED_FORM, DisagreementError
from oom_suite.pipeline.proved import assumptions, at_scenario, method, prove_subject
from oom_suite.pipeline.study import study_all
from oom_suite.report.files import write_body
from oom_suite.report.html import write_law_page
from oom_suite.report.law_page import LawPage, TermRow, ValueRow, render_law
from oom_suite.report.rows import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.laws.fit import Regime
    from oom_suite.laws.proof import Agreement, Proof
    from oom_suite.pipeline.check import Settings
    from oom_suite.pipeline.study import Study
    from oom_suite.records import Law

EXIT_NO_LAW = 3


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command("law")
    def law_command(
        subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="as for check")],
        *,
        scenario: Scenario = None,
        sizes: Set = None,
        workload: WorkloadName = "decode",
        arch: Arch = "generic",
        budget: BudgetText = None,
        time_limit: TimeLimit = 120.0,
        json: Annotated[Path | None, typer.Option("--json", help="write it to this file")] = None,
        html: Html = None,
    ) -> None:
        """Show the law of a subject: formula, assumptions, terms and their lines, what fits.

        Exits 0 when it has one, 2 on bad usage, 3 when none was found.
        """
        settings = read_settings(
            scenario, sizes or [], workload, "shadow", "cpu", arch, budget, time_limit, None
        )
        with Progress() as progress, ThreadPoolExecutor(1) as beside:
            proving = beside.submit(prove_subject, subject, settings, progress.update)
            (study,) = study_all([subject], settings, progress.update, progress.finish)
        page = law_page(study, settings, _proof(proving, study))
        if page is None:
            reason = printable(study.result.reason)
            typer.echo(f"INCONCLUSIVE {printable(subject)}: no law was found: {reason}")
            raise typer.Exit(EXIT_NO_LAW)
        render_law(page, Console())
        if json is not None:
            write_body({"law": page.to_json()}, json)
        if html is not None:
            write_law_page(page, study.result, html)


def _proof(
    proving: Future[tuple[Proof, Agreement]], study: Study
) -> tuple[Proof, Agreement] | None:
    """The proof; None where the subject cannot be run at all, which the study tells.

    Raises:
        DisagreementError: the lanes disagree: nothing that could be shown would be true.
    """
    try:
        return proving.result()
    except DisagreementError:
        raise
    except OomSuiteError:
        if study.derivation is not None:
            raise
        return None


def law_page(
    study: Study, settings: Settings, proven: tuple[Proof, Agreement] | None = None
) -> LawPage | None:
    """What is shown of a study; None where no law was found.

    Args:
        study: the subject's verdict and its fitted law.
        settings: how it was run.
        proven: its proved law, which is shown where there is one.
    """
    derivation = study.derivation
    if derivation is None:
        return None
    law, regimes, budget = derivation.law, derivation.regimes, settings.budget
    sizes: Mapping[str, int] = settings.sizes
    known: dict[str, Any] = {}
    if proven is not None:
        proof, agreement = proven
        known["method"] = method(proof, agreement)
        if proof.how == CLOSED_FORM:
            law, regimes, sizes = at_scenario(proof, derivation.trace)
            known["assumes"] = assumptions(proof)
            known["conditions"] = tuple(str(guard) for guard in proof.requires)
    return LawPage(
        subject=study.result.subject,
        workload=settings.workload.name,
        scenario=settings.scenario,
        law=law,
        elsewhere=tuple((change.moved, change.law) for change in derivation.elsewhere),
        notes=study.result.notes,
        terms=_terms(regimes, sizes),
        values=tuple(_value(name, law, study, settings) for name in settings.workload.scenarios),
        budget="" if budget is None else budget.name,
        limits=() if budget is None else limits(derivation, settings.workload, budget.free_bytes),
        **known,
    )


def _terms(regimes: Sequence[Regime], sizes: Mapping[str, int]) -> tuple[TermRow, ...]:
    if not regimes:
        return ()
    regime = regimes[0]
    rows = []
    for term in regime.polynomial.parts:
        (monomial,) = term.terms
        known = term.axes <= sizes.keys()
        num_bytes = int(term(sizes)) if known else None
        rows.append(TermRow(term, num_bytes, tuple(lines_of(monomial, regime))))
    # What data decides has no value here; it comes first, as the largest might.
    return tuple(sorted(rows, key=lambda row: (row.num_bytes is not None, -(row.num_bytes or 0))))


def _value(name: str, law: Law, study: Study, settings: Settings) -> ValueRow:
    sizes: Mapping[str, int] | None = settings.workload.settle(
        settings.workload.scenarios[name].sizes
    )
    # An axis that is none of the workload's, and not the block's size, is in no tensor of it.
    own = {axis.name for axis in settings.workload.axes} | {"block_size"}
    speaks = (
        sizes is not None
        and law.axes <= sizes.keys()
        and all(sizes[axis] == size for axis, size in law.held.items() if axis in own)
    )
    said = law(sizes) if speaks and sizes is not None else None
    return ValueRow(name, said, study.scenario_bytes.get(name))
