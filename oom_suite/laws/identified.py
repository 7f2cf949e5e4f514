"""A law that was proved on symbols, held against exact runs: no law is fitted to those then.

A fit needs runs on a grid to learn the polynomials of every live sum. Where one symbolic run has
them all, for all sizes and without a condition, what is left to do is to show that exact runs
follow it: request for request, at the scenario, far from it along every axis, and with all axes
moved at once. The runs have to tell every coefficient that the proof names, by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.laws.bound import excess
from oom_suite.laws.derivation import Derivation
from oom_suite.laws.evidence import allocate_alike, compared, dependences
from oom_suite.laws.explorer import probes
from oom_suite.laws.grid import MAX_DEGREE
from oom_suite.laws.lengths import LONG, length
from oom_suite.records import Law, Polynomial

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from oom_suite.laws.branches import Branch
    from oom_suite.laws.differences import Index
    from oom_suite.laws.evidence import Survey
    from oom_suite.laws.fit import Regime
    from oom_suite.laws.proof import Proof
    from oom_suite.laws.sites import Place
    from oom_suite.records import Trace, Workload
    from oom_suite.records.law import Monomial
    from oom_suite.records.symbolic import SymbolicTrace

    Course = list[tuple[int, Place, int]]
    """Every request in order: its bytes, its place, and the live sum just after it."""

_PRIME = (1 << 61) - 1
"""Ranks are counted modulo this prime: a rank that is full there is full."""


@dataclass(frozen=True, slots=True)
class _Steps:
    """Where probes start from, each axis moved by its own step."""

    sizes: Mapping[str, int]
    steps: Mapping[str, int]

    def point(self, index: Index) -> dict[str, int]:
        return {axis: self.sizes[axis] + k * self.steps[axis] for axis, k in index}


def may_say_all(trace: SymbolicTrace, workload: Workload) -> bool:
    """Whether a symbolic run has no more to it than requests that are polynomials of the axes."""
    axes = {axis.name for axis in workload.axes}
    others = (trace.host, trace.pinned)
    return not (
        trace.is_cut
        or trace.specialised
        or trace.quantities
        or trace.unseen
        or axes.intersection(trace.hints.held)
        or any(other is not None and other.allocations for other in others)
        or any(each.requested.axes - axes for each in trace.allocations)
    )


def identified(survey: Survey, workload: Workload, proof: Proof) -> Derivation | None:
    """What exact runs say of a law that is proved for all sizes, where they follow the proof.

    None where the proof has conditions, other laws or anything left open; where a run differs
    from it by one byte, one line or one request, cannot be made, or has something that no
    symbolic run has; where the runs do not tell every coefficient; and where more than the law
    is needed to judge the contract. The law is fitted then, as if there were no proof.

    Cost: the probes of `oom_suite.laws.explorer.probes`, and a second run at the scenario.

    Args:
        survey: has made the run at the scenario, from which it starts.
        workload: its axes are varied.
        proof: of the same code.
    """
    branch = proof.main
    if branch is None or not _is_whole(proof, branch, workload):
        return None
    if length(survey.at({})) > LONG:
        return None
    checked: list[Mapping[str, int]] = []
    for sizes in _sizes(survey, workload):
        trace = survey.try_at(sizes)
        if trace is None or not follows(branch.trace, trace):
            return None
        checked.append(sizes)
    if not tells(branch.trace, checked, [axis.name for axis in workload.axes]):
        return None
    second = survey.again(survey.sizes)
    if second is None or not allocate_alike(survey.at({}), second):
        return None
    return _derivation(survey, workload, branch)


def _is_whole(proof: Proof, branch: Branch, workload: Workload) -> bool:
    """Whether it is one law for all sizes, with no condition and nothing that was not tried."""
    open_ends = (proof.held, proof.branches, proof.guards, proof.notes, proof.quantities)
    return not any(open_ends) and may_say_all(branch.trace, workload)


def _sizes(survey: Survey, workload: Workload) -> Iterator[Mapping[str, int]]:
    """The scenario, and every size that a fitted law is checked at."""
    yield survey.sizes
    start = _Steps(survey.sizes, {axis.name: axis.step for axis in workload.axes})
    for choices in probes(workload, start):
        # What can be built and not run is a refusal, of which a proof should have known.
        yield from choices[:1]


def follows(symbolic: SymbolicTrace, trace: Trace) -> bool:
    """Whether an exact run makes the requests of a symbolic one, and nothing else.

    The same bytes from the same lines in the same order, with the same live sum after each.
    """
    others = (trace.host, trace.pinned)
    is_more = (
        trace.unseen
        or trace.unrecorded
        or trace.data_sizes
        or trace.kept
        or any(other is not None and other.allocations for other in others)
    )
    return not is_more and _said(symbolic, trace.sizes) == _made(trace)


def _said(symbolic: SymbolicTrace, sizes: Mapping[str, int]) -> Course:
    """What a symbolic run says of some sizes; requests of no bytes are none."""
    sizes_of = [each.requested(sizes) for each in symbolic.allocations]
    live, found = 0, []
    for kind, number in symbolic.events:
        num_bytes = int(sizes_of[number]) if sizes_of[number].denominator == 1 else -1
        live += num_bytes if kind == "alloc" else -num_bytes
        if kind == "alloc" and num_bytes:
            each = symbolic.allocations[number]
            found.append((num_bytes, (each.op, each.stack), live))
    return found


def _made(trace: Trace) -> Course:
    live, found = 0, []
    for event in trace.events:
        each = trace.allocations[event.allocation]
        live += each.requested_bytes if event.kind == "alloc" else -each.requested_bytes
        if event.kind == "alloc":
            found.append((each.requested_bytes, each.site, live))
    return found


def tells(
    symbolic: SymbolicTrace, checked: Sequence[Mapping[str, int]], axes: Iterable[str]
) -> bool:
    """Whether runs at these sizes leave no choice of any coefficient that a proof names.

    Every axis has to take as many values as a polynomial of the highest degree needs, and no
    other polynomial of the same terms may have the same values at all of these sizes.
    """
    if any(len({sizes[axis] for sizes in checked}) <= MAX_DEGREE for axis in axes):
        return False
    terms = {term for each in symbolic.allocations for term in each.requested.terms} | {()}
    return _rank([[_value(term, sizes) for term in sorted(terms)] for sizes in checked]) == len(
        terms
    )


def _value(term: Monomial, sizes: Mapping[str, int]) -> int:
    value = 1
    for name in term:
        value = value * sizes[name] % _PRIME
    return value


def _rank(rows: list[list[int]]) -> int:
    """How many of these rows are independent, counted modulo a prime: at most as many as are."""
    rank = 0
    for column in range(len(rows[0])):
        pivot = next((row for row in rows[rank:] if row[column]), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        rows.insert(rank, pivot)
        inverse = pow(pivot[column], -1, _PRIME)
        for row in rows[rank + 1 :]:
            factor = row[column] * inverse % _PRIME
            row[:] = [(a - factor * b) % _PRIME for a, b in zip(row, pivot, strict=True)]
        rank += 1
    return rank


def _derivation(survey: Survey, workload: Workload, branch: Branch) -> Derivation | None:
    """The evidence; None where the contract cannot be judged by the law alone."""
    sizes, forbidden = survey.sizes, workload.contract.independent_of
    axes = {axis.name for axis in workload.axes}
    held = {name: size for name, size in sizes.items() if name not in axes}
    regimes = _in_order(branch, sizes)
    runs = list(survey.runs)
    values = {axis: compared(runs, axis) for axis in forbidden if axis in sizes}
    if any(len(each) <= MAX_DEGREE for each in values.values()):
        return None
    is_broken = any(regime.polynomial.axes.intersection(forbidden) for regime in regimes)
    if not is_broken:
        over = (excess(regime, held, workload, sizes) for regime in regimes)
        if any(each is not None for each in over) or dependences(runs, list(values)):
            return None
    law = Law(
        regimes=tuple(regime.polynomial for regime in regimes) or (Polynomial({}),),
        sizes=dict(sizes),
        held=held,
        num_runs=survey.num_runs,
    )
    first = survey.at({})
    return Derivation(law, regimes, first, compared=values, is_proved=True)


def _in_order(branch: Branch, sizes: Mapping[str, int]) -> tuple[Regime, ...]:
    """The regimes, the scenario's own first; of equal ones, the one that is reached first."""
    places: dict[tuple[Place, int], int] = {}
    seen: dict[Place, int] = {}
    for number, each in enumerate(branch.trace.allocations):
        place = (each.op, each.stack)
        places[place, seen.setdefault(place, 0)] = number
        seen[place] += 1

    def key(regime: Regime) -> tuple[object, ...]:
        return -regime.polynomial(sizes), places[regime.site]

    return tuple(sorted(branch.regimes, key=key))
