"""The law of a subject, proved where its code can run on symbols, and fitted where it cannot."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError
from oom_suite.laws.derive import derive
from oom_suite.laws.explorer import Explorer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.laws.branches import Branch
    from oom_suite.laws.derivation import Derivation
    from oom_suite.laws.fit import Regime
    from oom_suite.records import Frame, Law, Trace, Workload
    from oom_suite.records.symbolic import Guard, Hints, Quantity, SymbolicTrace

    Prove = Callable[[Hints], SymbolicTrace]

CLOSED_FORM = "closed form"
FINITE_DIFFERENCES = "finite differences"
MAX_RUNS = 16
"""Symbolic runs of one subject; each takes some tenths of a second."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known of a subject's law, and how.

    Attributes:
        law: the law at the scenario.
        regimes: its regimes, with what is alive in each.
        how: `CLOSED_FORM` or `FINITE_DIFFERENCES`.
        reason: why it is not proved; empty where it is.
        requires: conditions of the workload's own builder.
        quantities: names in the law that are no axes.
        held: axes that the code made numbers of: the value, and the line that did.
        branches: other laws, on the other sides of guards.
        notes: what else the reader must know, a clause each.
        num_runs: symbolic runs made.
        elapsed_s: seconds that they and the algebra took.
        main: the branch of `law`, with its guards; None where it is fitted.
        derivation: the fitted law's evidence; None where it is proved.
    """

    law: Law
    regimes: tuple[Regime, ...]
    how: str
    reason: str = ""
    requires: tuple[Guard, ...] = ()
    quantities: tuple[Quantity, ...] = ()
    held: Mapping[str, tuple[int, Frame | None]] = field(default_factory=dict)
    branches: tuple[Branch, ...] = ()
    notes: tuple[str, ...] = ()
    num_runs: int = 0
    elapsed_s: float = 0.0
    main: Branch | None = None
    derivation: Derivation | None = None

    @property
    def guards(self) -> tuple[Guard, ...]:
        """What the law takes for granted; on the other side is another law, or nothing known."""
        return self.main.guards if self.main is not None else ()

    def branch_at(self, sizes: Mapping[str, int]) -> Branch | None:
        """The branch that speaks of these sizes; None where none was explored that does."""
        every = (*((self.main,) if self.main is not None else ()), *self.branches)
        return next((branch for branch in every if branch.applies(sizes)), None)


def prove(
    run: Prove,
    shadow: Callable[[Mapping[str, int]], Trace],
    workload: Workload,
    sizes: Mapping[str, int],
    max_runs: int = MAX_RUNS,
) -> Proof:
    """The law of what `run` runs, in closed form; from exact runs where that cannot be had.

    Args:
        run: gives the symbolic trace for hints.
        shadow: gives the exact trace at sizes; asked only where the code cannot run on symbols.
        workload: its axes are the symbols.
        sizes: the scenario.
        max_runs: symbolic runs at most.

    Raises:
        OomSuiteError: the scenario itself cannot be run.
    """
    start = time.perf_counter()
    explorer = Explorer(run, workload, sizes, max_runs)
    try:
        main = explorer.begin()
    except OomSuiteError as error:
        derivation = derive(shadow, workload, sizes)
        return Proof(
            law=derivation.law,
            regimes=derivation.regimes,
            how=FINITE_DIFFERENCES,
            reason=str(error),
            num_runs=explorer.num_runs,
            elapsed_s=time.perf_counter() - start,
            derivation=derivation,
        )
    groups = explorer.explore(main)
    main = groups[0]
    return Proof(
        law=replace(main.law, sizes=dict(sizes), num_runs=explorer.num_runs),
        regimes=main.regimes,
        how=CLOSED_FORM,
        requires=main.trace.requires,
        quantities=main.trace.quantities,
        held=explorer.held,
        branches=tuple(groups[1:]),
        notes=tuple(explorer.notes),
        num_runs=explorer.num_runs,
        elapsed_s=time.perf_counter() - start,
        main=main,
    )
