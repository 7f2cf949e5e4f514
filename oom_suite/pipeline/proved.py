"""The proof of one subject's law: the code on symbols, checked against exact runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from oom_suite.laws.proof import CLOSED_FORM, Agreement, Proof, cross_check, prove, resolved, sample
from oom_suite.pipeline.children import source_root, start_child
from oom_suite.subjects import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.laws.fit import Regime
    from oom_suite.pipeline.check import Settings
    from oom_suite.records import Law, Trace
    from oom_suite.records.symbolic import Hints, SymbolicTrace


def prove_subject(
    subject: str, settings: Settings, on_progress: Callable[[str, str], None]
) -> tuple[Proof, Agreement]:
    """What is known of a subject's law, and the exact runs that it was compared with.

    Where the code cannot run on symbols the law is fitted to exact runs, and says so; then
    there is nothing to compare.

    Raises:
        DisagreementError: a proved law and an exact run differ: an error of the suite.
        OomSuiteError: the subject cannot be had or run at the scenario.
    """
    spec = parse(subject)
    root = source_root(spec, on_progress)
    with (
        start_child(spec, root, settings, "prove") as symbolic,
        start_child(spec, root, settings, "shadow") as exact,
    ):

        def on_symbols(hints: Hints) -> SymbolicTrace:
            on_progress(subject, "proving")
            return cast("SymbolicTrace", symbolic.ask(hints))

        def at_sizes(sizes: Mapping[str, int]) -> Trace:
            on_progress(subject, "comparing with exact runs")
            return cast("Trace", exact.ask(dict(sizes)))

        proof = prove(on_symbols, at_sizes, settings.workload, settings.sizes)
        if proof.how != CLOSED_FORM:
            return proof, Agreement(())
        return proof, cross_check(proof, at_sizes, sample(settings.workload, proof))


def at_scenario(proof: Proof, trace: Trace) -> tuple[Law, tuple[Regime, ...], dict[str, int]]:
    """The law, its regimes and the sizes they have there, the regime that wins first.

    Sizes that data decides are read off the exact run; where it does not tell one, the order
    stays as it was.

    Args:
        proof: the proved law.
        trace: the exact run at the scenario.
    """
    values = dict(trace.sizes) if proof.main is None else resolved(proof.main, trace)
    if not proof.law.axes <= values.keys():
        return proof.law, proof.regimes, values
    regimes = tuple(sorted(proof.regimes, key=lambda regime: -regime.polynomial(values)))
    law = replace(proof.law, regimes=tuple(regime.polynomial for regime in regimes))
    return law, regimes, values


def method(proof: Proof, agreement: Agreement) -> str:
    """How the law is known, in a clause."""
    if proof.how != CLOSED_FORM:
        return f"fitted to {proof.law.num_runs} exact runs, not proved: {proof.reason}"
    runs = "run" if proof.num_runs == 1 else "runs"
    return (
        f"proved in closed form from {proof.num_runs} symbolic {runs}, "
        f"equal to {len(agreement.agreed)} exact runs to the byte"
    )


def assumptions(proof: Proof) -> tuple[str, ...]:
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
    others = [
        f"another law where {' and '.join(map(str, branch.guards)) or 'it is run'}: {branch.law}"
        for branch in proof.branches
        if str(branch.law) != str(proof.law)
    ]
    return tuple(dict.fromkeys((*held, *guards, *fixed, *quantities, *others, *proof.notes)))
