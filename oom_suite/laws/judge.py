"""The verdict on a fitted law, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from oom_suite.laws import breach as breaches
from oom_suite.laws.advice import (
    KNOWN_KERNELS,
    OWN_STATE,
    OWN_WORK,
    TERM_BY_TERM,
    farther,
    which_sizes,
)
from oom_suite.laws.blame import blame_dependence, blame_excess, blame_regime, blame_run, crossing
from oom_suite.laws.evidence import unclipped
from oom_suite.laws.words import grouped, join, listed, moved_from, note_on_bound, notes_on
from oom_suite.records import Blame, Breach, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.laws.derivation import Derivation, Violation
    from oom_suite.laws.evidence import Dependence
    from oom_suite.laws.fit import Regime
    from oom_suite.records import Law, Workload

_MAX_UNRECORDED = 3
"""Clauses on what was not recorded that a reason has room for."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, one line why, and what else the reader must know.

    Attributes:
        verdict: the outcome.
        reason: why, in one line.
        blame: the guilty lines.
        notes: what else the reader must know, one clause each.
        breach: the terms that break the promise.
        advice: what to do next where it was not judged, one sentence each.
    """

    verdict: Verdict
    reason: str
    blame: tuple[Blame, ...] = ()
    notes: tuple[str, ...] = field(default=())
    breach: Breach | None = None
    advice: tuple[str, ...] = ()


def judge(derivation: Derivation, workload: Workload) -> Judgement:
    """Decide the contract of a workload from a subject's law and runs.

    A broken promise that was shown is a FAIL, whatever else is unclear; anything that keeps
    the promise from being shown is INCONCLUSIVE. A law that holds around some sizes only is
    no such thing, as long as the forbidden axes change nothing wherever they were moved: the
    bound is then checked at every run made, and a note says that it is not proved.
    """
    notes = notes_on(derivation)
    deciders = (_growth, _unsteady, _dependence, _undecided, _over_bound, _unproved)
    shown = (decide(derivation, workload) for decide in deciders)
    judgement = next(filter(None, shown), None)
    if derivation.unrecorded and (judgement is None or judgement.verdict is not Verdict.FAIL):
        reason = what_was_not_recorded(derivation.unrecorded)
        return Judgement(Verdict.INCONCLUSIVE, reason, notes=notes, advice=(OWN_WORK,))
    if judgement is not None:
        return replace(judgement, notes=notes)
    kept = []
    if workload.contract.independent_of:
        kept.append(f"independent of {join(workload.contract.independent_of)}")
    if workload.contract.at_most is not None:
        kept.append("within its bound" if derivation.is_whole else "within its bound at every run")
    return Judgement(
        Verdict.PASS,
        ", ".join(kept) or "nothing is promised",
        notes=(*notes, *note_on_bound(derivation, workload)),
    )


def what_was_not_recorded(unrecorded: Sequence[str]) -> str:
    """The first things that a trace does not have, in one line."""
    more = len(unrecorded) - _MAX_UNRECORDED
    rest = f"; and {more} more" if more > 0 else ""
    return "; ".join(unrecorded[:_MAX_UNRECORDED]) + rest


def _growth(derivation: Derivation, workload: Workload) -> Judgement | None:
    """Some regime, at the scenario or far from it, has a forbidden axis in it."""
    forbidden = frozenset(workload.contract.independent_of)
    laws: list[tuple[Law, tuple[Regime, ...], Mapping[str, int]]] = [
        (derivation.law, derivation.regimes, {}),
        *((change.law, change.regimes, change.moved) for change in derivation.elsewhere),
    ]
    for law, regimes, moved in laws:
        guilty = next((r for r in regimes if r.polynomial.axes & forbidden), None)
        if guilty is None:
            continue
        slopes = {
            axis: guilty.polynomial.slope(axis, law.sizes)
            for axis in workload.contract.independent_of
            if axis in guilty.polynomial.axes
        }
        grows = join(
            f"{axis} ({grouped(slope)} {'byte' if slope == 1 else 'bytes'} "
            f"per {workload.unit_of(axis)})"
            for axis, slope in slopes.items()
        )
        where = f" at {listed(moved)}" if moved else ""
        hidden = "" if guilty is regimes[0] else _hidden(law, guilty, next(iter(slopes)))
        return Judgement(
            Verdict.FAIL,
            f"peak grows with {grows}{where}{hidden}",
            blame_regime(guilty, slopes, law.sizes),
            breach=breaches.growth(guilty.polynomial, slopes, law.sizes),
        )
    return None


def _hidden(law: Law, guilty: Regime, axis: str) -> str:
    """From where on a regime is the peak that another one hides at the law's own sizes."""
    start = crossing(law, guilty.polynomial, axis)
    if start is None:
        return ", where no other allocation hides it"
    return f", hidden by other allocations until {axis}={start:,}"


def _unsteady(derivation: Derivation, workload: Workload) -> Judgement | None:
    """Runs that depend on the runs before them cannot be compared."""
    del workload
    if not derivation.unsteady:
        return None
    reason = f"the code keeps state between calls: {derivation.unsteady}"
    return Judgement(Verdict.INCONCLUSIVE, reason, advice=(OWN_STATE,))


def _dependence(derivation: Derivation, workload: Workload) -> Judgement | None:
    """Along a forbidden axis allocations differ, though no polynomial says how."""
    del workload
    # With less than the code asks for it takes less; from there on nothing changes.
    shown = next(iter(unclipped(derivation.dependences)), None)
    if shown is None:
        return None
    axes = join(shown.axes)
    blame = blame_dependence(shown)
    if shown.reaches_peak:
        seen = _before_after(derivation, shown)
        breach = Breach(shown.after, seen=seen)
        return Judgement(Verdict.FAIL, f"peak depends on {axes}: {seen}", blame, breach=breach)
    held = max(shown.sites, key=lambda site: abs(site[2] - site[1]), default=None)
    if held is None:
        reason = f"the order of allocations depends on {axes}, and with other sizes the peak may"
        return Judgement(Verdict.INCONCLUSIVE, reason, blame, advice=(farther(shown),))
    amounts = (
        f"{held[1]:,} bytes at {_at(shown.axes, shown.before)}, "
        f"{held[2]:,} at {_at(shown.axes, shown.after)}"
    )
    if shown.num_rises > 1:
        # It rose more than once: nothing says where it would stop.
        reason = f"an allocation below the peak keeps growing with {axes}: {amounts}"
        breach = Breach(shown.after, seen=amounts)
        return Judgement(Verdict.FAIL, reason, blame, breach=breach)
    reason = f"an allocation below the peak depends on {axes}: {amounts}"
    return Judgement(Verdict.INCONCLUSIVE, reason, blame, advice=(farther(shown),))


def _before_after(derivation: Derivation, shown: Dependence) -> str:
    others = moved_from(derivation.law.sizes, shown.before, without=shown.axes)
    where = f" (with {listed(others)})" if others else ""
    return (
        f"{shown.before_bytes:,} bytes at {_at(shown.axes, shown.before)}, "
        f"{shown.after_bytes:,} at {_at(shown.axes, shown.after)}{where}"
    )


def _at(axes: tuple[str, ...], sizes: Mapping[str, int]) -> str:
    return listed({axis: sizes[axis] for axis in axes})


def _undecided(derivation: Derivation, workload: Workload) -> Judgement | None:
    """Something kept the independence from being shown."""
    for axis in workload.contract.independent_of:
        if len(derivation.compared.get(axis, ())) < 2:
            why = derivation.fixed.get(axis, "")
            value = derivation.law.sizes[axis]
            reason = f"{axis} could not be varied from {value:,}{': ' if why else ''}{why}"
            return Judgement(Verdict.INCONCLUSIVE, reason, advice=(which_sizes(axis, value),))
        if axis in derivation.unseen:
            op, stack = derivation.unseen[axis][0]
            at = f" at {stack[0]}" if stack else ""
            reason = f"{op}{at} takes unseen scratch and is given more bytes as {axis} grows"
            return Judgement(Verdict.INCONCLUSIVE, reason, advice=(KNOWN_KERNELS,))
    return None


def _over_bound(derivation: Derivation, workload: Workload) -> Judgement | None:
    """Some run, or an exact law at sizes too large to run, exceeds the contract's bound."""
    if derivation.violations:
        worst = derivation.violations[0]
        reason = _exceeds(worst.peak_bytes, worst.limit_bytes, _sizes_of(worst, workload))
        blame, breach = blame_run(worst, derivation), breaches.of_run(worst, derivation, workload)
        return Judgement(Verdict.FAIL, reason, blame, breach=breach)
    if not derivation.is_global:
        return None
    for over in derivation.excesses:
        sizes, polynomial = over.sizes, over.regime.polynomial
        if sizes is None or over.runnable:
            continue
        there = {axis: sizes[axis] for axis in sorted(polynomial.axes)}
        reason = _exceeds(int(polynomial(sizes)), int(over.limit(sizes)), there)
        blame = blame_excess(over.regime, sizes)
        breach = breaches.excess(polynomial, over.limit, sizes)
        return Judgement(Verdict.FAIL, reason, blame, breach=breach)
    return None


def _exceeds(peak_bytes: int, limit_bytes: int, sizes: Mapping[str, int]) -> str:
    return (
        f"peak exceeds its bound: {peak_bytes:,} bytes at {listed(sizes)}, allowed {limit_bytes:,}"
    )


def _sizes_of(violation: Violation, workload: Workload) -> dict[str, int]:
    """The sizes that the bound speaks of."""
    bound = workload.contract.at_most
    axes = frozenset() if bound is None else bound.axes
    return {axis: size for axis, size in violation.sizes.items() if axis in axes}


def _unproved(derivation: Derivation, workload: Workload) -> Judgement | None:
    """The bound is neither proved, nor broken, nor checked where it might be."""
    del workload
    for over in derivation.excesses:
        if derivation.is_global:
            reason = f"cannot show {over.regime.polynomial} <= {over.limit}"
            return Judgement(Verdict.INCONCLUSIVE, reason, advice=(TERM_BY_TERM,))
        if over.sizes is not None and not over.runnable:
            there = {axis: over.sizes[axis] for axis in sorted(over.regime.polynomial.axes)}
            reason = (
                f"the bound may break at {listed(there)}, too large to run: the law found at "
                f"smaller sizes, {over.regime.polynomial}, says so there and may not hold"
            )
            run_it = f"run it there: name these sizes in far, or as production={there}"
            return Judgement(Verdict.INCONCLUSIVE, reason, advice=(run_it,))
    return None
