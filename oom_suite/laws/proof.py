"""The law in closed form, proved on symbols, and held against exact runs to the byte."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError
from oom_suite.laws.explorer import Explorer
from oom_suite.laws.plain_words import plain
from oom_suite.laws.words import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.laws.branches import Branch
    from oom_suite.laws.derivation import Derivation
    from oom_suite.laws.fit import Regime
    from oom_suite.records import Frame, Law, Trace, Workload
    from oom_suite.records.symbolic import Guard, Hints, Quantity, SymbolicTrace

    Prove = Callable[[Hints], SymbolicTrace]
    from collections.abc import Callable, Iterable

    from oom_suite.records import Polynomial
    from oom_suite.records.symbolic import SymbolicTrace


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
        detail: the same as torch or Python put it; empty where it is proved.
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
    detail: str = ""
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
    fitted: Callable[[], Derivation],
    workload: Workload,
    sizes: Mapping[str, int],
    max_runs: int = MAX_RUNS,
) -> Proof:
    """The law of what `run` runs, in closed form; from exact runs where that cannot be had.

    Args:
        run: gives the symbolic trace for hints.
        fitted: gives the law of exact runs; asked only where the code cannot run on symbols.
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
        derivation = fitted()
        return Proof(
            law=derivation.law,
            regimes=derivation.regimes,
            how=FINITE_DIFFERENCES,
            reason=plain(str(error)),
            detail=str(error),
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


_SEED = 41962
_NUM_RANDOM = 4


class DisagreementError(OomSuiteError):
    """Two lanes say different bytes of the same call: an error of the suite, never of a subject."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a cross-check compared.

    Attributes:
        agreed: sizes at which law and exact run gave the same bytes.
        skipped: sizes that no explored branch speaks of, or that could not be run, each with why.
    """

    agreed: tuple[Mapping[str, int], ...]
    skipped: tuple[tuple[Mapping[str, int], str], ...] = ()


def cross_check(
    proof: Proof,
    shadow: Callable[[Mapping[str, int]], Trace],
    sizes_list: Iterable[Mapping[str, int]],
) -> Agreement:
    """At which of these sizes the law was compared with an exact run, and was right.

    Raises:
        DisagreementError: law and run differ by a single byte anywhere.
    """
    agreed: list[Mapping[str, int]] = []
    skipped: list[tuple[Mapping[str, int], str]] = []
    for sizes in sizes_list:
        branch = proof.branch_at(sizes)
        if branch is None:
            skipped.append((sizes, "no branch that was explored speaks of them"))
            continue
        try:
            trace = shadow(sizes)
        except OomSuiteError as error:
            skipped.append((sizes, str(error)))
            continue
        values = resolved(branch, trace)
        missing = _missing(branch, values)
        if missing:
            skipped.append((sizes, f"the run does not tell {', '.join(sorted(missing))}"))
            continue
        _check_bounds(branch, values)
        proved, exact = branch.law(values), trace.peak().num_bytes
        if proved != exact:
            raise DisagreementError(
                f"the lanes disagree at {listed(sizes)}: prove says {proved:,} bytes, shadow "
                f"{exact:,}; this is an error of the suite: please report it with the subject"
            )
        agreed.append(sizes)
    return Agreement(tuple(agreed), tuple(skipped))


def sample(workload: Workload, proof: Proof) -> list[dict[str, int]]:
    """Sizes to compare at: the scenario, the least, every far value alone, some at random.

    Axes that the law holds stay at its values.
    """
    start = dict(proof.law.sizes)
    axes = [axis for axis in workload.axes if axis.name not in proof.law.held]
    wishes = [start, {**start, **{axis.name: axis.lower for axis in axes}}]
    for axis in axes:
        wishes += [{**start, axis.name: value} for value in (axis.lower, *axis.far)]
    chance = random.Random(_SEED)
    for _ in range(_NUM_RANDOM):
        drawn = {a.name: chance.randint(a.lower, max(a.lower, *a.far, 1)) for a in axes}
        wishes.append({**start, **drawn})
    settled = (workload.settle(wish) for wish in wishes)
    return [dict(sizes) for sizes in settled if sizes is not None]


def resolved(branch: Branch, trace: Trace) -> dict[str, int]:
    """The axes' values and those of every quantity that the exact run lets one tell.

    Requests of both runs come in the same order. One that is a multiple of an unknown quantity
    gives its value; those of no bytes are in no exact run.
    """
    values = dict(trace.sizes)
    for quantity in branch.trace.quantities:
        if quantity.value is not None and quantity.value.names <= values.keys():
            values[quantity.name] = int(quantity.value(values))
    return values | _decided_by_data(branch.trace, trace, values)


def _decided_by_data(
    symbolic: SymbolicTrace, trace: Trace, axes: Mapping[str, int]
) -> dict[str, int]:
    """What data decided in an exact run; nothing where its requests do not follow the proof's."""
    values = dict(axes)
    has_nothing = False
    exact = list(reversed(trace.allocations))
    for request in symbolic.allocations:
        unknown = request.requested.axes - values.keys()
        if not unknown and request.requested(values) == 0:
            continue
        found = exact.pop() if exact else None
        is_here = found is not None and (found.op, found.stack) == (request.op, request.stack)
        if unknown and not is_here:
            # A request of no bytes is in no exact run.
            if found is not None:
                exact.append(found)
            nothing = _solved(request.requested, unknown, values, 0)
            if nothing is None or set(nothing.values()) != {0}:
                return {}
            values |= nothing
            has_nothing = True
        elif found is None:
            return {}
        elif unknown:
            solved = _solved(request.requested, unknown, values, found.requested_bytes)
            if solved is None:
                return {}
            values |= solved
        elif request.requested(values) != found.requested_bytes:
            return {}
    # What the exact run asked for besides may be what was taken for nothing.
    return {} if has_nothing and exact else values


def _solved(
    requested: Polynomial, unknown: frozenset[str], values: Mapping[str, int], num_bytes: int
) -> dict[str, int] | None:
    """The one unknown name in a request, where it is there to the first power."""
    if len(unknown) != 1:
        return None
    (name,) = unknown
    if any(monomial.count(name) > 1 for monomial in requested.terms):
        return None
    base = requested({**values, name: 0})
    slope = requested({**values, name: 1}) - base
    if not slope or (num_bytes - base) % slope:
        return None
    return {name: int((num_bytes - base) / slope)}


def _check_bounds(branch: Branch, values: Mapping[str, int]) -> None:
    for quantity in branch.trace.quantities:
        for bound in quantity.at_most if quantity.name in values else ():
            if bound.names <= values.keys() and values[quantity.name] > bound(values):
                raise DisagreementError(
                    f"{quantity.name} is {values[quantity.name]:,} in an exact run, and prove "
                    f"says at most {bound}; this is an error of the suite: please report it"
                )


def _missing(branch: Branch, values: Mapping[str, int]) -> frozenset[str]:
    return branch.law.axes - values.keys()
