"""Makes a contract from what a test promises, and decides a law's formulas by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.errors import UsageError, unknown
from oom_suite.laws.contracts.expressions import parse_bound
from oom_suite.records import Contract, Polynomial, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from oom_suite.records import CoveredBy, Law


def contract(
    axes: Sequence[str],
    *,
    independent_of: str | Iterable[str] = (),
    at_most: str | None = None,
    linear_in: str | Iterable[str] = (),
    constant: bool = False,
    bounded_in: str | Iterable[str] = (),
    constant_after: Mapping[str, int] | None = None,
    covered_by: CoveredBy | None = None,
) -> Contract:
    """The contract that these promises make together.

    Args:
        axes: every axis of the workload.
        independent_of: one axis or several that the peak must not depend on.
        at_most: an expression in the axes that the peak must not exceed, as `parse_bound` reads.
        linear_in: axes that the peak may grow at most linearly with.
        constant: whether the peak must not depend on any axis.
        bounded_in: one axis or several that the peak must stop to grow with, at some size.
        constant_after: axes, each with the size from which on the peak must stay as it is.
        covered_by: what a profile run took, and the sizes that can come later, as
            `oom_suite.laws.contracts.covered_by` reads it.

    Raises:
        UsageError: an axis that is none, or a bound that cannot be read.
    """
    forbidden = tuple(axes) if constant else _named(independent_of, axes, "independent_of")
    return Contract(
        independent_of=forbidden,
        at_most=None if at_most is None else parse_bound(at_most, axes),
        linear_in=_named(linear_in, axes, "linear_in"),
        bounded_in=_named(bounded_in, axes, "bounded_in"),
        constant_after=_starts(constant_after or {}, axes),
        covered_by=covered_by,
    )


def _starts(given: Mapping[str, int], axes: Sequence[str]) -> tuple[tuple[str, int], ...]:
    try:
        starts = dict(given)
    except (TypeError, ValueError):
        msg = f"constant_after: {given!r}: name axes and sizes, such as {{'num_tokens': 1024}}"
        raise UsageError(msg) from None
    _named(starts, axes, "constant_after")
    for axis, size in starts.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            msg = f"constant_after: {axis}={size!r} is not a size: give a whole number from 1"
            raise UsageError(msg)
    return tuple(starts.items())


def bounded_in(*names: str, axes: Sequence[str]) -> Contract:
    """The promise that the peak stops to grow with each of these axes at some size."""
    return contract(axes, bounded_in=names)


def constant_after(starts: Mapping[str, int], *, axes: Sequence[str]) -> Contract:
    """The promise that the peak stays as it is from these sizes on."""
    return contract(axes, constant_after=starts)


def independent_of(*names: str, axes: Sequence[str]) -> Contract:
    """The promise that the peak depends on none of the named axes."""
    return contract(axes, independent_of=names)


def at_most(bound: str, *, axes: Sequence[str]) -> Contract:
    """The promise that the peak is within a bound, for all sizes."""
    return contract(axes, at_most=bound)


def linear_in(*names: str, axes: Sequence[str]) -> Contract:
    """The promise that no power of these axes, and no product of two, is in the peak."""
    return contract(axes, linear_in=names)


def constant(*, axes: Sequence[str]) -> Contract:
    """The promise that the peak depends on no axis at all."""
    return contract(axes, constant=True)


def _named(names: str | Iterable[str], axes: Sequence[str], promise: str) -> tuple[str, ...]:
    wanted = (names,) if isinstance(names, str) else tuple(names)
    for name in wanted:
        if name not in axes:
            msg = f"{promise}: {unknown('axis', name, axes)}"
            raise UsageError(msg)
    return tuple(dict.fromkeys(wanted))


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a promise is kept, and one line why."""

    verdict: Verdict
    reason: str
    guilty: tuple[Polynomial, ...] = ()
    formula: Polynomial | None = None


def decide(law: Law, contract: Contract) -> Decision | None:
    """The decision on what a contract says of a law's form; None where it says nothing of it.

    `Contract.at_most` and the runs behind a law are not looked at: those need more than the law.
    """
    decisions = []
    if contract.independent_of:
        decisions.append(_decide(law, contract.independent_of, 0, "independent of"))
    if contract.linear_in:
        decisions.append(decide_linear_in(law, contract.linear_in))
    order = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)
    return min(decisions, key=lambda each: order.index(each.verdict), default=None)


def decide_linear_in(law: Law, axes: Iterable[str]) -> Decision:
    """Whether no term holds a power of these axes above 1, or a product of two of them.

    **Does not prove:** anything about sizes that the law was not found for; an axis that it
    holds is inconclusive.
    """
    return _decide(law, axes, 1, "at most linear in")


def decide_constant(law: Law) -> Decision:
    """Whether the law is one number, whatever the sizes."""
    every = sorted(law.axes | (law.sizes.keys() - law.held.keys()))
    return _decide(law, every, 0, "independent of")


def _decide(law: Law, axes: Iterable[str], highest: int, says: str) -> Decision:
    """Whether the named axes stand at most that often in every term."""
    named = tuple(dict.fromkeys(axes))
    listed = ", ".join(named)
    for regime in law.regimes:
        guilty = tuple(
            Polynomial({monomial: coefficient}, regime.order)
            for monomial, coefficient in regime.terms.items()
            if sum(monomial.count(axis) for axis in named) > highest
        )
        if guilty:
            shown = ", ".join(str(term) for term in guilty)
            reason = f"not {says} {listed}: {shown} in {regime}"
            return Decision(Verdict.FAIL, reason, guilty, regime)
    held = [axis for axis in named if axis in law.held]
    if held:
        values = ", ".join(f"{axis}={law.held[axis]:,}" for axis in held)
        reason = f"cannot show {says} {listed}: the law was found for {values} alone"
        return Decision(Verdict.INCONCLUSIVE, reason)
    return Decision(Verdict.PASS, f"{says} {listed}" if named else "nothing is promised")
