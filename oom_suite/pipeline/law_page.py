"""What `oom-suite law` shows of a study: the formula, what it assumes, its terms, its values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from oom_suite.errors import OomSuiteError
from oom_suite.laws.limits import limits
from oom_suite.laws.lines import lines_of
from oom_suite.laws.proof import CLOSED_FORM, Agreement, cross_check, resolved, sample
from oom_suite.pipeline.check import check_all
from oom_suite.records.law_page import LawPage, LimitRow, TermRow, ValueRow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.laws.fit import Regime
    from oom_suite.laws.proof import Proof
    from oom_suite.pipeline.judging import Study
    from oom_suite.pipeline.runs import Runs
    from oom_suite.pipeline.settings import OnProgress, Settings
    from oom_suite.records import Law, Result, Trace


@dataclass(frozen=True, slots=True)
class FullStudy:
    """A study with what its program gave at further sizes.

    Attributes:
        study: verdict, law and proof.
        scenario_bytes: peak requested bytes of an exact run at each named scenario that runs.
        agreement: the exact runs that a proved law was compared with.
    """

    study: Study
    scenario_bytes: Mapping[str, int] = field(default_factory=dict)
    agreement: Agreement = field(default_factory=lambda: Agreement(()))


def full_studies(
    subjects: Sequence[str],
    settings: Settings,
    on_progress: OnProgress,
    on_result: Callable[[Result], None] = lambda _: None,
    *,
    compares: bool = False,
) -> list[FullStudy]:
    """The studies of these subjects, in their order, with their peaks at the named scenarios.

    Args:
        subjects: their spellings.
        settings: how they are judged.
        on_progress: given what each is doing.
        on_result: given each result.
        compares: whether proved laws are compared with exact runs at further sizes.

    Raises:
        UsageError: a spelling cannot be read. Nothing was run then.
        DisagreementError: a proved law and an exact run differ: an error of the suite.
    """
    found: dict[str, FullStudy] = {}

    def look(study: Study, runs: Runs) -> None:
        agreement = Agreement(())
        if compares and study.proof is not None and study.proof.how == CLOSED_FORM:
            on_progress(study.result.subject, "comparing with exact runs")
            points = sample(settings.workload, study.proof)
            agreement = cross_check(study.proof, runs.known, points)
        found[study.result.subject] = FullStudy(
            study, _at_scenarios(study, runs, settings), agreement
        )

    studies = check_all(subjects, settings, on_progress, on_result, look)
    return [
        replace(found[study.result.subject], study=study)
        if study.result.subject in found
        else FullStudy(study)
        for study in studies
    ]


def _at_scenarios(study: Study, runs: Runs, settings: Settings) -> Mapping[str, int]:
    """The peak of a first call at every named scenario; one that cannot be run is left out."""
    peaks = {}
    for name, known in settings.workload.scenarios.items():
        sizes = settings.workload.settle(known.sizes)
        if sizes is None:
            continue
        try:
            # Code that keeps state has no proof, and its law is that of first calls.
            trace = runs.afresh(sizes)[0] if study.proof is None else runs.known(sizes)
            peaks[name] = trace.peak().num_bytes
        except OomSuiteError:
            # The subject refuses these sizes; its law says where it was found.
            continue
    return peaks


def law_page(found: FullStudy, settings: Settings) -> LawPage | None:
    """What is shown of a study; None where no law was found."""
    study = found.study
    derivation, proof = study.derivation, study.proof
    if derivation is None:
        return None
    law, regimes, budget = derivation.law, derivation.regimes, settings.budget
    sizes: Mapping[str, int] = settings.sizes
    known: dict[str, Any] = {}
    if proof is not None:
        known["method"] = _method(proof, found.agreement)
        if proof.how == CLOSED_FORM:
            law, regimes, sizes = at_scenario(proof, derivation.trace)
            known["assumes"] = _assumptions(proof)
            known["conditions"] = tuple(str(guard) for guard in proof.requires)
    return LawPage(
        subject=study.result.subject,
        workload=settings.workload.name,
        scenario=settings.scenario,
        law=law,
        elsewhere=tuple((change.moved, change.law) for change in derivation.elsewhere),
        notes=(
            *study.result.leaks,
            *(note for note in study.result.notes if note not in study.proof_notes),
            *(f"{each.name}: {each.law}" for each in study.result.host),
        ),
        terms=_terms(regimes, sizes),
        values=tuple(_value(name, law, found, settings) for name in settings.workload.scenarios),
        budget="" if budget is None else budget.name,
        limits=() if budget is None else _limits(found, settings, budget.free_bytes),
        inside=study.result.inside,
        **known,
    )


def _limits(found: FullStudy, settings: Settings, free_bytes: int) -> tuple[LimitRow, ...]:
    derivation = found.study.derivation
    assert derivation is not None
    inside = [term.at_most for term in found.study.result.inside]
    return limits(derivation, settings.workload, free_bytes, inside)


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


def _value(name: str, law: Law, found: FullStudy, settings: Settings) -> ValueRow:
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
    num_bytes = law(sizes) if speaks and sizes is not None else None
    return ValueRow(name, num_bytes, found.scenario_bytes.get(name))


def at_scenario(proof: Proof, trace: Trace) -> tuple[Law, tuple[Regime, ...], dict[str, int]]:
    """The law, its regimes and the sizes they have there, the regime that wins first.

    Sizes that data decides are read off the exact run; where it does not tell one, the order
    stays as it was.
    """
    values = dict(trace.sizes) if proof.main is None else resolved(proof.main, trace)
    if not proof.law.axes <= values.keys():
        return proof.law, proof.regimes, values
    regimes = tuple(sorted(proof.regimes, key=lambda regime: -regime.polynomial(values)))
    law = replace(proof.law, regimes=tuple(regime.polynomial for regime in regimes))
    return law, regimes, values


def _method(proof: Proof, agreement: Agreement) -> str:
    """How the law is known, in a clause."""
    if proof.how != CLOSED_FORM:
        return f"fitted to {proof.law.num_runs} exact runs, not proved: {proof.reason}"
    runs = "run" if proof.num_runs == 1 else "runs"
    return (
        f"proved in closed form from {proof.num_runs} symbolic {runs}, "
        f"equal to {len(agreement.agreed)} exact runs to the byte"
    )


def _assumptions(proof: Proof) -> tuple[str, ...]:
    """What the law takes for granted, and what its names that are no axes stand for.

    Guards are those of the code under test. The conditions of the workload's own builder are
    counted: they say which steps can be built at all.
    """
    held = [
        f"{axis} = {size:,}" + (f": the code makes a number of it at {frame}" if frame else "")
        for axis, (size, frame) in proof.held.items()
    ]
    guards = [str(guard) for guard in proof.guards]
    fixed = [
        f"{axis} = {size:,} (not varied)"
        for axis, size in proof.law.held.items()
        if axis not in proof.held
    ]
    if not guards and not held:
        guards = ["nothing about the sizes: the code under test asked for no condition"]
    if proof.requires:
        guards.append(f"a step that the workload can build ({len(proof.requires)} conditions)")
    quantities = [str(q) for q in proof.quantities if q.name in proof.law.axes]
    elsewhere = [
        f"another law where {' and '.join(map(str, branch.guards)) or 'it is run'}: {branch.law}"
        for branch in proof.branches
        if str(branch.law) != str(proof.law)
    ]
    return tuple(dict.fromkeys((*held, *guards, *fixed, *quantities, *elsewhere, *proof.notes)))
