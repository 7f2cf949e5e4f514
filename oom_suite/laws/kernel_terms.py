"""What kernels take beside what dispatch sees, as terms of the law, and what those promise.

A kernel's scratch is a matter of tiles, grids and branches: no polynomial is it, to the byte. So
each operator and line has a bound that every run kept, in the axes that its scratch moved with.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, log, prod
from typing import TYPE_CHECKING

from oom_suite.records import Blame, KernelTerm, Polynomial, Verdict
from oom_suite.records.libraries import LIBRARIES
from oom_suite.units import KIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from oom_suite.records import Contract, Frame, Trace

    Run = tuple[Mapping[str, int], Trace]
    Place = tuple[str, Frame | None]
    Sizes = Mapping[str, int]
    Taken = Sequence[tuple[Sizes, int]]

_MAX_DEGREE = 3
_BLOCK_BYTES = 512
_FRACTIONS = 4
"""Coefficients below `_WHOLE` are rounded up to quarters, others to whole bytes."""
_WHOLE = 64
_SMALL_BYTES = 64 * KIB
"""A constant that no reader minds beside what grows."""
_SLACK_BYTES = 4096
"""Growth that tiles and alignments make, and sizes do not."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What kernels take grows as a promise says it must not.

    Attributes:
        verdict: FAIL where they really take it, else INCONCLUSIVE.
        reason: one line, with figures.
        blame: the line that calls the kernels; None where none does.
    """

    verdict: Verdict
    reason: str
    blame: Blame | None = None


def kernel_terms(
    runs: Sequence[Run], axes: Sequence[str], scenario: Sizes, target: str
) -> tuple[KernelTerm, ...]:
    """A term for each operator and line whose kernels took something in some run.

    Args:
        runs: sizes, and the trace there with what the target's kernels take.
        axes: in the order that terms name them.
        scenario: the sizes that a reader is told the bytes at; one of the runs'.
        target: whose kernels.
    """
    terms = []
    for place, taken in _taken(runs).items():
        bound = _bound(taken, axes, scenario)
        here = next((size for sizes, size in taken if sizes == scenario), 0)
        exact = _is_exact(runs, place)
        terms.append(KernelTerm(*place, bound, here, target, exact, _libraries(runs, place)))
    return tuple(sorted(terms, key=lambda term: -term.num_bytes))


def growth(runs: Sequence[Run], contract: Contract, scenario: Sizes, target: str) -> Growth | None:
    """How what kernels take breaks ``independent_of`` or ``linear_in``; None where it does not.

    **Does not prove:** that nothing grows between sizes that were run.
    """
    found = []
    for place, taken in _taken(runs).items():
        shown = _grows(taken, contract.independent_of, scenario) or _outgrows(
            taken, contract.linear_in
        )
        if shown is None:
            continue
        is_exact = _is_exact(runs, place)
        says, axes, (small, few), (large, many) = shown
        term = KernelTerm(*place, Polynomial({}), 0, target)
        what = "takes" if is_exact else "takes at most, as far as is known,"
        reason = (
            f"what {term.place} {what} inside {says} {' and '.join(axes)}: {few:,} bytes at "
            f"{_at(axes, small)}, {many:,} at {_at(axes, large)} ({target})"
        )
        verdict = Verdict.FAIL if is_exact else Verdict.INCONCLUSIVE
        axis = max(axes, key=lambda each: large[each] / small[each])
        per_unit = (many - few) / (large[axis] - small[axis])
        here = next((size for sizes, size in taken if sizes == scenario), 0)
        found.append(Growth(verdict, reason, _blame(place[1], here, axis, per_unit)))
    return min(found, key=lambda each: each.verdict is not Verdict.FAIL, default=None)


def _blame(frame: Frame | None, num_bytes: int, axis: str, per_unit: float) -> Blame | None:
    if frame is None:
        return None
    return Blame(frame.file, frame.line, frame.function, num_bytes, axis, per_unit)


def _taken(runs: Sequence[Run]) -> dict[Place, list[tuple[Sizes, int]]]:
    """For each operator and line, what its kernels take in each run.

    Without those that take, in some run, what nothing bounds: they are named.
    """
    each = [(sizes, trace.inside_bytes()) for sizes, trace in runs]
    unbounded = {
        (unseen.op, unseen.stack[0] if unseen.stack else None)
        for _, trace in runs
        for unseen in trace.unseen
        if not unseen.is_bounded
    }
    places = dict.fromkeys(place for _, found in each for place in found)
    return {
        place: [(sizes, found.get(place, 0)) for sizes, found in each]
        for place in places
        if place not in unbounded
    }


def _is_exact(runs: Sequence[Run], place: Place) -> bool:
    op, frame = place
    return not any(
        one.is_bound and one.inside == op and (one.stack[0] if one.stack else None) == frame
        for _, trace in runs
        for one in trace.allocations
    )


def _libraries(runs: Sequence[Run], place: Place) -> tuple[str, ...]:
    """Workspaces that closed libraries choose at a place."""
    op, frame = place
    return tuple(
        dict.fromkeys(
            one.op
            for _, trace in runs
            for one in trace.allocations
            if one.op in LIBRARIES and one.inside == op
            if (one.stack[0] if one.stack else None) == frame
        )
    )


def _bound(taken: Taken, axes: Sequence[str], scenario: Sizes) -> Polynomial:
    """A product of the axes that matter, and a constant.

    As tight as can be at the largest run. Kernels for few entries may take much more for each: then
    that may be a large constant, and the bound is the one of the two that is less at the scenario.
    """
    degrees = {axis: degree for axis in axes if (degree := _degree(taken, axis))}
    monomial = tuple(sorted(axis for axis, degree in degrees.items() for _ in range(degree)))
    if not monomial:
        return _beside((), Fraction(0), taken, axes)

    def count(one: tuple[Sizes, int]) -> int:
        return prod(one[0][axis] for axis in monomial)

    def ratio(one: tuple[Sizes, int]) -> Fraction:
        return Fraction(one[1], count(one))

    largest = max(taken, key=lambda one: (count(one), one[1]))
    tried = (_rounded(ratio(largest)), _rounded(max(map(ratio, taken))))
    tight, plain = (_beside(monomial, slope, taken, axes) for slope in tried)
    is_close = tight.terms.get((), 0) <= _SMALL_BYTES
    return tight if is_close or tight(scenario) <= plain(scenario) else plain


def _beside(
    monomial: tuple[str, ...], slope: Fraction, taken: Taken, axes: Sequence[str]
) -> Polynomial:
    """That many bytes for each, and the constant that every run needs beside them."""
    rests = [size - slope * prod(sizes[axis] for axis in monomial) for sizes, size in taken]
    constant = Fraction(ceil(max(Fraction(0), *rests) / _BLOCK_BYTES) * _BLOCK_BYTES)
    terms: dict[tuple[str, ...], Fraction] = {(): constant}
    if monomial:
        terms[monomial] = slope
    return Polynomial.of(terms, axes)


def _rounded(slope: Fraction) -> Fraction:
    step = 1 if slope >= _WHOLE else _FRACTIONS
    return Fraction(ceil(slope * step), step)


def _degree(taken: Taken, axis: str) -> int:
    """The power of an axis that what is taken grows with, where it alone moves; 0 for none.

    Where another kernel is taken from some size on, one step up is steep: more than linear is what
    two steps are, one after the other, at the largest sizes.
    """
    degrees = [0]
    for series in _series(taken, (axis,)):
        powers = [
            log(many / few) / log(large[axis] / small[axis]) if few else 1.0
            for (small, few), (large, many) in pairwise(series[-3:])
            if many > few
        ]
        if series[-1][1] > series[-2][1]:
            steep = min(powers) if len(powers) > 1 else 1.0
            degrees.append(min(_MAX_DEGREE, max(1, round(steep))))
    return max(degrees)


def _series(taken: Taken, axes: Sequence[str]) -> Iterator[list[tuple[Sizes, int]]]:
    """Runs that differ in these axes alone, from small to large; at least two."""
    groups: dict[tuple[tuple[str, int], ...], list[tuple[Sizes, int]]] = {}
    for sizes, size in taken:
        rest = tuple(sorted(item for item in sizes.items() if item[0] not in axes))
        groups.setdefault(rest, []).append((sizes, size))
    for group in groups.values():
        if len(group) > 1:
            yield sorted(group, key=lambda one: [one[0][axis] for axis in axes])


_Shown = tuple[str, tuple[str, ...], tuple["Sizes", int], tuple["Sizes", int]]


def _grows(taken: Taken, axes: Sequence[str], scenario: Sizes) -> _Shown | None:
    """Two runs that a forbidden axis alone tells apart, at its largest sizes, where more is taken.

    A grid that is full takes no more: what stops growing has no part in a law. Away from the
    scenario one step up may be where the axis has as much as the code asks for: there it takes two.
    """
    for axis in axes:
        for series in _series(taken, (axis,)):
            *earlier, before, after = series
            is_near = any(sizes == scenario for sizes, _ in series)
            has_grown = before[1] > earlier[-1][1] if earlier else is_near
            if has_grown and after[1] > before[1] + _SLACK_BYTES:
                return "grows with", (axis,), before, after
    return None


def _outgrows(taken: Taken, axes: Sequence[str]) -> _Shown | None:
    """Two runs between which more is added than the axes, all together, allow in a linear law.

    The larger is the largest of its series, and the smaller the last one that is smaller in every
    axis: what kernels do at small sizes says nothing of how they grow.
    """
    for series in _series(taken, axes) if axes else ():
        ordered = sorted(series, key=lambda one: prod(one[0][axis] for axis in axes))
        *smaller, after = ordered
        below = [one for one in smaller if all(one[0][a] < after[0][a] for a in axes)]
        if not below:
            continue
        before = below[-1]
        factors: list[Fraction] = [Fraction(after[0][axis], before[0][axis]) for axis in axes]
        factor = max(factors)
        if after[1] > before[1] * factor + _SLACK_BYTES:
            return "grows faster than linearly with", tuple(axes), before, after
    return None


def _at(axes: Sequence[str], sizes: Sizes) -> str:
    return ", ".join(f"{axis}={sizes[axis]:,}" for axis in axes)
