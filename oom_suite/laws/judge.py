"""The verdict: whether a law keeps the workload's contract, and whom to blame where not."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from oom_suite.records import Blame, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from oom_suite.laws.derive import Derivation
    from oom_suite.laws.fit import Regime
    from oom_suite.records import Polynomial, Workload

_MAX_BOUND_TRIES = 20_000


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, one line why, the guilty lines, and what else the reader must know."""

    verdict: Verdict
    reason: str
    blame: tuple[Blame, ...] = ()
    notes: tuple[str, ...] = field(default=())


def judge(derivation: Derivation, workload: Workload) -> Judgement:
    """Decide the contract of a workload from a subject's law.

    A broken promise that was shown is a FAIL, whatever else is unclear; anything that keeps
    the promise from being shown is INCONCLUSIVE.
    """
    notes = _notes(derivation)
    for decide in (_growth, _jump, _undecided, _bound):
        judgement = decide(derivation, workload)
        if judgement is not None:
            return Judgement(judgement.verdict, judgement.reason, judgement.blame, notes)
    axes = _and(workload.contract.independent_of)
    within = "" if workload.contract.at_most is None else ", within its bound"
    return Judgement(Verdict.PASS, f"independent of {axes}{within}", notes=notes)


def _growth(derivation: Derivation, workload: Workload) -> Judgement | None:
    """Some regime, at the scenario or far from it, has a forbidden axis in it."""
    forbidden = frozenset(workload.contract.independent_of)
    here = [r for r in derivation.regimes if r.polynomial.axes & forbidden]
    there = [
        (change, regime)
        for change, regimes in derivation.elsewhere
        for regime in regimes
        if regime.polynomial.axes & forbidden
    ]
    if not here and not there:
        return None
    sizes = dict(derivation.law.sizes)
    where = ""
    if here:
        regime = here[0]
    else:
        change, regime = there[0]
        sizes = dict(change.sizes)
        where = f" at {change.axis}={change.value}"
    slopes = {
        axis: float(regime.polynomial.slope(axis, sizes))
        for axis in workload.contract.independent_of
        if axis in regime.polynomial.axes
    }
    grows = _and(
        f"{axis} ({slope:,.10g} bytes per {workload.unit_of(axis)})"
        for axis, slope in slopes.items()
    )
    blame = _blame(regime, slopes, sizes)
    return Judgement(Verdict.FAIL, f"peak grows with {grows}{where}", blame)


def _jump(derivation: Derivation, workload: Workload) -> Judgement | None:
    """Along a forbidden axis the peak differs, though no polynomial says how."""
    for axis in workload.contract.independent_of:
        if axis in derivation.irregular:
            reason = f"peak depends on {axis}: {derivation.irregular[axis]}"
            return Judgement(Verdict.FAIL, reason)
        for change, _ in derivation.elsewhere:
            if change.axis == axis and change.predicted_bytes != change.actual_bytes:
                reason = (
                    f"peak depends on {axis}: {change.actual_bytes:,} bytes at "
                    f"{axis}={change.value:,}, {derivation.trace.peak().num_bytes:,} at "
                    f"{derivation.law.sizes[axis]:,}"
                )
                return Judgement(Verdict.FAIL, reason)
    return None


def _undecided(derivation: Derivation, workload: Workload) -> Judgement | None:
    """Something kept the promise from being shown."""
    for axis in workload.contract.independent_of:
        if axis in derivation.law.held:
            reason = f"{axis} could not be varied from {derivation.law.held[axis]}"
            return Judgement(Verdict.INCONCLUSIVE, reason)
        if axis in derivation.unseen:
            op, stack = derivation.unseen[axis][0]
            at = f" at {stack[0]}" if stack else ""
            reason = f"{op}{at} takes unseen scratch and is given more bytes as {axis} grows"
            return Judgement(Verdict.INCONCLUSIVE, reason)
    if derivation.mismatch:
        return Judgement(Verdict.INCONCLUSIVE, f"no exact law: {derivation.mismatch}")
    return None


def _bound(derivation: Derivation, workload: Workload) -> Judgement | None:
    """Some regime exceeds the contract's bound, or cannot be shown not to."""
    bound = workload.contract.at_most
    if bound is None:
        return None
    lower = {axis.name: axis.lower for axis in workload.axes}
    far = [regime for _, regimes in derivation.elsewhere for regime in regimes]
    for regime in (*derivation.regimes, *far):
        limit = bound.at(derivation.law.held)
        if regime.polynomial.at_most(limit, lower):
            continue
        broken = _where_broken(regime.polynomial, limit, workload, derivation.law.sizes)
        if broken is None:
            reason = f"cannot show {regime.polynomial} <= {limit}"
            return Judgement(Verdict.INCONCLUSIVE, reason)
        at = ", ".join(f"{axis}={broken[axis]:,}" for axis in sorted(regime.polynomial.axes))
        reason = (
            f"peak exceeds what is referenced: {int(regime.polynomial(broken)):,} bytes at {at}, "
            f"allowed {int(limit(broken)):,}"
        )
        axis = max(regime.polynomial.axes, key=lambda a: regime.polynomial.slope(a, broken))
        slopes = {axis: float(regime.polynomial.slope(axis, broken))}
        return Judgement(Verdict.FAIL, reason, _blame(regime, slopes, derivation.law.sizes))
    return None


def _where_broken(
    polynomial: Polynomial, limit: Polynomial, workload: Workload, sizes: Mapping[str, int]
) -> dict[str, int] | None:
    """Sizes, among the scenario's and the far ones, at which the bound is exceeded."""
    axes = [axis for axis in workload.axes if axis.name in polynomial.axes | limit.axes]
    values = [sorted({sizes[axis.name], *axis.far}) for axis in axes]
    for tries, chosen in enumerate(product(*values)):
        if tries == _MAX_BOUND_TRIES:
            return None
        point = {**sizes, **{a.name: v for a, v in zip(axes, chosen, strict=True)}}
        if workload.is_valid(point) and polynomial(point) > limit(point):
            return point
    return None


def _blame(
    regime: Regime, slopes: Mapping[str, float], sizes: Mapping[str, int]
) -> tuple[Blame, ...]:
    """The lines alive in that regime whose requests grow with those axes, largest first."""
    found: dict[tuple[str, int, str, str], list[float]] = {}
    for (place, _), size in regime.live:
        stack = place[1]
        for axis in slopes:
            if axis not in size.axes or not stack:
                continue
            key = (stack[0].file, stack[0].line, stack[0].function, axis)
            held = found.setdefault(key, [0.0, 0.0])
            held[0] += float(size(sizes))
            held[1] += float(size.slope(axis, sizes))
    lines = [
        Blame(file, line, function, int(total), axis, each)
        for (file, line, function, axis), (total, each) in found.items()
    ]
    return tuple(sorted(lines, key=lambda blame: -blame.bytes))


def _notes(derivation: Derivation) -> tuple[str, ...]:
    return tuple(
        f"another law holds at {change.axis}={change.value:,}: {change.law.here}"
        for change, _ in derivation.elsewhere
    )


def _and(words: Iterable[str]) -> str:
    listed = list(words)
    return " and ".join(filter(None, [", ".join(listed[:-1]), *listed[-1:]]))
