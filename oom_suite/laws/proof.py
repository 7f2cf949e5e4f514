"""The law of a subject, proved where its code can run on symbols, and fitted where it cannot."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError
from oom_suite.laws.branches import distinct_hints, holds, other_side
from oom_suite.laws.closed_form import closed_form, same_law
from oom_suite.laws.derive import derive
from oom_suite.records.symbolic import Hints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from oom_suite.laws.derivation import Derivation
    from oom_suite.laws.fit import Regime
    from oom_suite.records import Frame, Law, Trace, Workload
    from oom_suite.records.symbolic import Guard, Quantity, SymbolicTrace

    Prove = Callable[[Hints], SymbolicTrace]

CLOSED_FORM = "closed form"
FINITE_DIFFERENCES = "finite differences"
MAX_RUNS = 16
"""Symbolic runs of one subject; each takes some tenths of a second."""

_MAX_SPECIALISATIONS = 4


@dataclass(frozen=True, slots=True)
class Branch:
    """A law and the branches that it speaks of.

    Attributes:
        law: the law.
        regimes: its regimes, with what is alive in each.
        trace: the symbolic run that it comes from; its guards are the law's.
    """

    law: Law
    regimes: tuple[Regime, ...]
    trace: SymbolicTrace

    def applies(self, sizes: Mapping[str, int], checked: frozenset[str] = frozenset()) -> bool:
        """Whether it speaks of these sizes.

        Args:
            sizes: the axes' values.
            checked: guards whose other side has the same law.
        """
        return all(sizes[axis] == size for axis, size in self.law.held.items()) and all(
            str(guard.formula) in checked or holds(guard, sizes)
            for guard in self.trace.guards
            if guard.formula.names <= sizes.keys()
        )


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known of a subject's law, and how.

    Attributes:
        law: the law at the scenario.
        regimes: its regimes, with what is alive in each.
        how: `CLOSED_FORM` or `FINITE_DIFFERENCES`.
        reason: why it is not proved; empty where it is.
        guards: what it takes for granted: the other side has another law or was not reached.
        checked: guards whose other side was run and has the same law.
        requires: conditions of the workload's own builder.
        quantities: names in the law that are no axes.
        held: axes that the code made numbers of: the value, and the line that did.
        branches: laws on the other sides of guards.
        notes: what else the reader must know, a clause each.
        num_runs: symbolic runs made.
        elapsed_s: seconds that they and the algebra took.
        main: the branch of `law`; None where it is fitted.
        derivation: the fitted law's evidence; None where it is proved.
    """

    law: Law
    regimes: tuple[Regime, ...]
    how: str
    reason: str = ""
    guards: tuple[Guard, ...] = ()
    checked: tuple[Guard, ...] = ()
    requires: tuple[Guard, ...] = ()
    quantities: tuple[Quantity, ...] = ()
    held: Mapping[str, tuple[int, Frame | None]] = field(default_factory=dict)
    branches: tuple[Branch, ...] = ()
    notes: tuple[str, ...] = ()
    num_runs: int = 0
    elapsed_s: float = 0.0
    main: Branch | None = None
    derivation: Derivation | None = None

    def branch_at(self, sizes: Mapping[str, int]) -> Branch | None:
        """The branch that speaks of these sizes; None where none was explored that does."""
        checked = frozenset(str(guard.formula) for guard in self.checked)
        every = (*((self.main,) if self.main is not None else ()), *self.branches)
        exact = (branch for branch in every if branch.applies(sizes))
        return next(exact, next((b for b in every if b.applies(sizes, checked)), None))


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
    explorer = _Explorer(run, workload, sizes, max_runs)
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
    explorer.explore(main)
    return Proof(
        law=replace(main.law, sizes=dict(sizes), num_runs=explorer.num_runs),
        regimes=main.regimes,
        how=CLOSED_FORM,
        guards=tuple(explorer.assumed(main)),
        checked=tuple(explorer.checked.values()),
        requires=main.trace.requires,
        quantities=main.trace.quantities,
        held=explorer.held,
        branches=tuple(explorer.others),
        notes=tuple(explorer.notes),
        num_runs=explorer.num_runs,
        elapsed_s=time.perf_counter() - start,
        main=main,
    )


class _Explorer:
    """Runs the code on both sides of what it asks of the sizes.

    Args:
        run: gives the symbolic trace for hints.
        workload: its axes are the symbols.
        sizes: the scenario.
        max_runs: runs at most.

    Attributes:
        held: axes that the code made numbers of.
        checked: guards whose other side has the same law, by text.
        others: the branches with another law.
        notes: what could not be explored, and why.
        num_runs: runs made.
    """

    def __init__(
        self, run: Prove, workload: Workload, sizes: Mapping[str, int], max_runs: int
    ) -> None:
        self._run = run
        self._workload = workload
        self._sizes = dict(sizes)
        self._max_runs = max_runs
        self._axes = {axis.name for axis in workload.axes}
        self._lower = {axis.name: axis.lower for axis in workload.axes}
        self.held: dict[str, tuple[int, Frame | None]] = {}
        self.checked: dict[str, Guard] = {}
        self._failed: dict[str, Guard] = {}
        self.others: list[Branch] = []
        self.notes: list[str] = []
        self.num_runs = 0

    def begin(self) -> Branch:
        """The branch of the scenario: axes that the code makes numbers of have its values."""
        hints = distinct_hints(self._workload, self._sizes)
        branch = self._branch(hints)
        for _ in range(_MAX_SPECIALISATIONS):
            new = {a: line for a, (_, line) in branch.trace.specialised.items()}
            if new.keys() <= self.held.keys():
                break
            self.held |= {axis: (self._sizes[axis], line) for axis, line in new.items()}
            wish = {**hints, **{axis: size for axis, (size, _) in self.held.items()}}
            hints = dict(self._workload.settle(wish) or wish)
            branch = self._branch(hints)
        return branch

    def explore(self, main: Branch) -> None:
        """Run the other side of every guard that has one, as far as runs are left."""
        waiting = [main]
        seen = [main]
        while waiting:
            branch = waiting.pop(0)
            for found in self._beyond(branch):
                if same_law(main.law, found.law, self._lower):
                    self._settle(found, [main, *seen])
                    waiting.append(found)
                else:
                    self.others.append(found)
                seen.append(found)

    def assumed(self, main: Branch) -> Iterator[Guard]:
        """The guards of a branch whose other side does not have its law, or was not reached."""
        return (
            guard
            for guard in main.trace.guards
            if str(guard.formula) not in self.checked
            and not (guard.formula.names and guard.formula.names <= self.held.keys())
        )

    def _beyond(self, branch: Branch) -> Iterator[Branch]:
        for guard in branch.trace.guards:
            text = str(guard.formula)
            known = text in self.checked or text in self._failed
            fixed = branch.law.held.keys() & guard.formula.names
            if known or fixed or not guard.formula.names <= self._axes:
                continue
            sizes = other_side([guard], self._workload, branch.trace.hints.sizes)
            if sizes is None:
                continue
            if self.num_runs >= self._max_runs:
                self._failed[text] = guard
                self.notes.append(f"the other side of {guard} was not run: runs are up")
                continue
            try:
                found = self._branch(sizes)
            except OomSuiteError as error:
                self._failed[text] = guard
                self.notes.append(f"where {guard} is false, it cannot be run: {error}")
                continue
            self._failed[text] = guard
            yield found

    def _settle(self, found: Branch, others: list[Branch]) -> None:
        """Both sides of these guards have the same law."""
        for branch in others:
            for guard in branch.trace.guards:
                sizes = found.trace.hints.sizes
                if guard.formula.names <= sizes.keys() and not holds(guard, sizes):
                    self.checked[str(guard.formula)] = guard
        for guard in found.trace.guards:
            if any(
                guard.formula.names <= other.trace.hints.sizes.keys()
                and not holds(guard, other.trace.hints.sizes)
                for other in others
            ):
                self.checked[str(guard.formula)] = guard

    def _branch(self, sizes: Mapping[str, int]) -> Branch:
        held = tuple(name for name in sizes if name not in self._axes or name in self.held)
        self.num_runs += 1
        trace = self._run(Hints(dict(sizes), held, self._lower))
        law, regimes = closed_form(trace)
        return Branch(law, regimes, trace)
