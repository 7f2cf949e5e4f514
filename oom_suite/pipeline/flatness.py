"""The promises ``bounded_in`` and ``constant_after``: the peak stays as it is from a size on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError
from oom_suite.laws.blame import blame_dependence
from oom_suite.laws.breach import terms_with
from oom_suite.laws.flat import Flat, FlatSurvey, Rising
from oom_suite.laws.proof import CLOSED_FORM, prove
from oom_suite.laws.words import listed, moved_from
from oom_suite.pipeline.advising import TARGET
from oom_suite.pipeline.proved import kept_too, weakened
from oom_suite.records import Breach, Result, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.laws.branches import Branch
    from oom_suite.laws.derivation import Derivation
    from oom_suite.laws.evidence import Dependence
    from oom_suite.records import Trace, Workload
    from oom_suite.records.symbolic import Hints, SymbolicTrace

_MIN_COMPARED = 4
_FAR = 8
"""The largest size that was compared is at least so many times the smallest, for a PASS."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What can be asked of a program.

    Attributes:
        exact: gives the exact trace at some sizes.
        symbolic: gives the trace on symbols; None where the code keeps state.
        workload: its contract has the promises.
        sizes: the scenario.
    """

    exact: Callable[[Mapping[str, int]], Trace]
    symbolic: Callable[[Hints], SymbolicTrace] | None
    workload: Workload
    sizes: Mapping[str, int]


def with_flat(result: Result, found: Evidence) -> Result:
    """The result with what the contract says of axes that the peak stops to grow with.

    Green where the peak is proved not to depend on the axis from there on, or where every exact
    run from there on, near and far, with other axes moved as well, allocates alike: loops may
    have more turns, and nothing else may differ.

    **Does not prove:** without a proof, anything about sizes that were not run; a note names them.
    """
    contract = found.workload.contract
    for axis, start in contract.constant_after:
        if axis in found.sizes:
            result = _constant_after(result, axis, start, found)
    for axis in contract.bounded_in:
        if axis in found.sizes:
            result = _bounded_in(result, axis, found)
    return result


def _constant_after(result: Result, axis: str, start: int, found: Evidence) -> Result:
    survey = FlatSurvey(found.exact, found.workload, found.sizes, axis)
    says = f"the same peak from {axis}={start:,} on"
    return _judged(result, survey.held_from(start), says, found)


def _bounded_in(result: Result, axis: str, found: Evidence) -> Result:
    survey = FlatSurvey(found.exact, found.workload, found.sizes, axis)
    flat = survey.search()
    if isinstance(flat, Rising):
        return _rising(result, flat)
    if flat is None:
        problem = f"no size of {axis} was found from which on the peak stays as it is"
        return _undecided(result, problem, _far_advice(axis, found.sizes[axis]))
    own = [f"from {size:,} on at {listed(others)}" for others, size in flat.moved]
    also = f" ({', '.join(own)})" if own else ""
    says = f"flat from {axis}={flat.start:,} on{also}"
    result = _judged(result, flat, says, found)
    if result.verdict is Verdict.PASS:
        return replace(result, flat_from={**result.flat_from, axis: flat.start})
    return result


def _judged(result: Result, flat: Flat, says: str, found: Evidence) -> Result:
    """The result with what runs from some size on say, and the proof where there is one."""
    axis, shown = flat.axis, flat.shown
    if shown is not None and (shown.reaches_peak or shown.num_rises > 1):
        return _dependent(result, flat, shown)
    if shown is not None:
        amounts = _amounts(axis, shown)
        problem = (
            f"an allocation below the peak depends on {axis} from {flat.start:,} on: {amounts}"
        )
        return _undecided(result, problem, _far_advice(axis, shown.after[axis]))
    grows = _proved_growth(flat, found)
    if grows is not None and grows.guilty is not None:
        return _failed(result, grows.guilty[0], grows.guilty[1])
    if grows is not None:
        return _kept(result, says, f"{says}: proved in closed form")
    if flat.unseen:
        op, stack = flat.unseen[0]
        at = f" at {stack[0]}" if stack else ""
        problem = f"{op}{at} takes scratch that is not seen and is given more bytes as {axis} grows"
        return _undecided(result, problem, TARGET)
    largest = max(flat.compared, default=0)
    if len(flat.compared) < _MIN_COMPARED or largest < _FAR * flat.start:
        why = f": {flat.refused}" if flat.refused else ""
        problem = f"{axis} could not be compared at sizes well above {flat.start:,}{why}"
        return _undecided(result, problem, _far_advice(axis, _FAR * flat.start))
    note = (
        f"{says}: {flat.num_runs} exact runs with {axis} up to {largest:,} allocate alike; "
        "not proved beyond"
    )
    return _kept(result, says, note)


def _kept(result: Result, says: str, note: str) -> Result:
    kept = kept_too(result, says) if result.verdict is Verdict.PASS else result
    return replace(kept, notes=(*kept.notes, note))


def _undecided(result: Result, problem: str, advice: str) -> Result:
    return weakened(result, problem, advice)


def _far_advice(axis: str, size: int) -> str:
    return f"name larger sizes to look at, such as far={{{axis!r}: ({4 * size}, {16 * size})}}"


def _amounts(axis: str, shown: Dependence) -> str:
    held = max(shown.sites, key=lambda site: abs(site[2] - site[1]), default=None)
    if held is None:
        return "the order of allocations"
    before, after = shown.before[axis], shown.after[axis]
    return f"{held[1]:,} bytes at {axis}={before:,}, {held[2]:,} at {axis}={after:,}"


def _dependent(result: Result, flat: Flat, shown: Dependence) -> Result:
    """A peak, or what keeps growing below it, that differs from that size on."""
    axis = flat.axis
    if shown.reaches_peak:
        others = moved_from(result.sizes, shown.before, without=(axis,))
        where = f" (with {listed(others)})" if others else ""
        seen = (
            f"{shown.before_bytes:,} bytes at {axis}={shown.before[axis]:,}, "
            f"{shown.after_bytes:,} at {axis}={shown.after[axis]:,}{where}"
        )
        why = f"peak depends on {axis} from {axis}={flat.start:,} on: {seen}"
    else:
        seen = _amounts(axis, shown)
        why = f"an allocation below the peak keeps growing with {axis}: {seen}"
    return _failed(result, why, Breach(shown.after, seen=seen), shown)


def _rising(result: Result, found: Rising) -> Result:
    """A peak that no size was found for from which on it stays."""
    axis, law = found.axis, result.law
    (low, before), (high, after) = found.before, found.after
    seen = f"{before:,} bytes at {axis}={low:,}, {after:,} at {axis}={high:,}"
    why = f"peak still grows with {axis} at the largest sizes run: {seen}"
    breach = Breach({**result.sizes, axis: high}, seen=seen)
    if law is not None and law.here.axes & {axis} and law.here({**law.sizes, axis: high}) == after:
        breach = Breach(dict(law.sizes), law.here, terms_with(law.here, [axis]))
    return _failed(result, why, breach, found.shown)


def _failed(result: Result, why: str, breach: Breach, shown: Dependence | None = None) -> Result:
    blame = () if shown is None else blame_dependence(shown)
    if result.verdict is Verdict.FAIL:
        return replace(
            result,
            reason=f"{result.reason}; {why}",
            blame=(*result.blame, *blame),
            breach=result.breach or breach,
        )
    return replace(result, verdict=Verdict.FAIL, reason=why, blame=blame, breach=breach, advice=())


@dataclass(frozen=True, slots=True)
class _Proved:
    """What a proof says of all sizes from some on: nothing grows, or which formula does."""

    guilty: tuple[str, Breach] | None = None


def _proved_growth(flat: Flat, found: Evidence) -> _Proved | None:
    """What symbols of at least that size say; None where they say nothing."""
    if found.symbolic is None:
        return None
    axes = tuple(
        replace(each, lower=flat.start, far=tuple(n for n in each.far if n >= flat.start))
        if each.name == flat.axis
        else each
        for each in found.workload.axes
    )
    workload = replace(found.workload, axes=axes)
    sizes = {**found.sizes, flat.axis: max(flat.start, found.sizes[flat.axis])}
    try:
        proof = prove(found.symbolic, _no_fit, workload, sizes)
    except OomSuiteError:
        return None
    if proof.how != CLOSED_FORM or flat.axis in proof.held or proof.main is None:
        return None
    branches = (proof.main, *proof.branches)
    if any(flat.axis in guard.formula.names for branch in branches for guard in branch.guards):
        return None
    regimes = [(branch, regime) for branch in branches for regime in branch.law.regimes]
    for _, regime in regimes:
        if flat.axis in regime.axes:
            why = f"peak grows with {flat.axis} from {flat.axis}={flat.start:,} on: {regime}"
            terms = terms_with(regime, [flat.axis])
            return _Proved((why, Breach(dict(found.sizes), regime, terms)))
    if any(_may_follow(branch, flat.axis, regime.axes) for branch, regime in regimes):
        return None
    return _Proved()


def _may_follow(branch: Branch, axis: str, names: frozenset[str]) -> bool:
    """Whether any of these names is a quantity that is made from the axis: ``min(axis, 1024)``."""
    return any(
        axis in formula.names
        for quantity in branch.trace.quantities
        if quantity.name in names
        for formula in ((quantity.value,) if quantity.value is not None else quantity.at_most)
    )


def _no_fit() -> Derivation:
    raise OomSuiteError("not proved")
