"""Branches of code under symbolic sizes: what a law speaks of, and sizes that go beyond."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from oom_suite.laws.fit import Regime
    from oom_suite.records import Law, Workload
    from oom_suite.records.symbolic import Guard, SymbolicTrace

_MAX_DOUBLINGS = 12
_MAX_TRIED = 512
"""Numbers looked at for a prime: two of them below 2^32 are never as far apart."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A law and the branches that it speaks of.

    Attributes:
        law: the law.
        regimes: its regimes, with what is alive in each.
        trace: the symbolic run that it comes from; its guards are the law's.
        checked: guards, as text, whose other side was run and has the same law.
    """

    law: Law
    regimes: tuple[Regime, ...]
    trace: SymbolicTrace
    checked: frozenset[str] = frozenset()

    @property
    def guards(self) -> tuple[Guard, ...]:
        """What the law takes for granted about the sizes."""
        return tuple(
            guard
            for guard in self.trace.guards
            if str(guard.formula) not in self.checked
            and not (guard.formula.names and guard.formula.names <= self.law.held.keys())
        )

    def applies(self, sizes: Mapping[str, int]) -> bool:
        """Whether it speaks of these sizes; what data decides is left aside."""
        return all(sizes[axis] == size for axis, size in self.law.held.items()) and all(
            holds(guard, sizes) for guard in self.guards if guard.formula.names <= sizes.keys()
        )


def distinct_hints(workload: Workload, sizes: Mapping[str, int]) -> dict[str, int]:
    """Sizes near the scenario's, each its axis's step times a prime of its own.

    Sizes that are equal, or products of others, would make torch believe an equality that is an
    accident of the scenario. What `sizes` has beyond the workload's axes stays as it is.
    """
    used: set[int] = set()
    hints = dict(sizes)
    for axis in workload.axes:
        prime = _prime(max(3, sizes[axis.name] // axis.step), used)
        used.add(prime)
        hints[axis.name] = axis.step * prime
    settled = workload.settle(hints)
    return dict(settled) if settled is not None else hints


def distinct_within(part: Mapping[str, tuple[int, int]], workload: Workload) -> dict[str, int]:
    """Sizes near the upper corner of a part of a box, where it can be no two of them equal.

    Each that can be chosen is its axis's step times a prime of its own, as of `distinct_hints`.
    """
    used: set[int] = set()
    sizes = {axis: high for axis, (_, high) in part.items()}
    for axis in workload.axes:
        low, high = part[axis.name]
        start = high // axis.step
        primes = (n for n in range(start, max(2, start - _MAX_TRIED), -1) if _is_prime(n))
        free = (n for n in primes if n not in used and n * axis.step >= low)
        prime = next(free, None) if low < high else None
        if prime is not None:
            used.add(prime)
            sizes[axis.name] = prime * axis.step
    settled = workload.settle(sizes)
    return dict(settled) if settled is not None else sizes


def other_side(guard: Guard, workload: Workload, start: Mapping[str, int]) -> dict[str, int] | None:
    """The nearest sizes tried at which a guard is false; None where none was found.

    Args:
        guard: a condition on axes alone.
        workload: its axes are moved, to sizes that it can be built with.
        start: sizes at which the guard holds.
    """
    for sizes in _moved(workload, start, guard.formula.names):
        if not holds(guard, sizes):
            return sizes
    return None


def holds(guard: Guard, values: Mapping[str, int]) -> bool:
    """Whether a guard is true of these sizes; one that cannot be evaluated there is not."""
    try:
        return bool(guard.formula(values))
    except (KeyError, ZeroDivisionError, ValueError, TypeError):
        return False


def _moved(
    workload: Workload, start: Mapping[str, int], names: frozenset[str]
) -> Iterator[dict[str, int]]:
    """One axis moved, then two: to their least values, far ones, and ever further out."""
    axes = [axis for axis in workload.axes if axis.name in names]
    values = {
        axis.name: dict.fromkeys(
            [
                axis.lower,
                start[axis.name] + 1,
                *axis.far,
                *(start[axis.name] << k for k in range(1, _MAX_DOUBLINGS)),
            ]
        )
        for axis in axes
    }
    for axis in axes:
        for value in values[axis.name]:
            yield from _built(workload, {**start, axis.name: value})
    for one, other in combinations(axes, 2):
        for first in values[one.name]:
            for second in values[other.name]:
                yield from _built(workload, {**start, one.name: first, other.name: second})


def _built(workload: Workload, wish: Mapping[str, int]) -> Iterator[dict[str, int]]:
    settled = workload.settle(wish)
    if settled is not None:
        yield dict(settled)


def _prime(start: int, used: set[int]) -> int:
    number = start
    while number in used or not _is_prime(number):
        number += 1
    return number


def _is_prime(number: int) -> bool:
    return all(number % divisor for divisor in range(2, int(number**0.5) + 1))
