"""Sizes at which two laws are held against each other, the ordinary ones first."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from oom_suite.records import Polynomial, Workload

_MAX_DOUBLINGS = 24

_MANY = 1 << 50
"""More than any size that data decides can be."""


def quantities(
    now: Iterable[str], locked: Iterable[str], sizes: Mapping[str, int]
) -> list[dict[str, int]]:
    """Values for the sizes in two laws that are no axes, because data decides them.

    One that only the law of now has may be 0, and one that only the locked law had may be
    anything: growth is shown with the values that speak against it most.
    """
    new, old = set(now) - sizes.keys(), set(locked) - sizes.keys()
    apart = {**dict.fromkeys(new - old, 0), **dict.fromkeys(old - new, _MANY)}
    together = dict.fromkeys(new & old)
    if not together:
        return [apart]
    return [{**apart, **dict.fromkeys(together, value)} for value in (1, 1 << 12, 1 << 24)]


def points(  # noqa: PLR0913, PLR0917 - two laws and where to look
    formula: Polynomial,
    others: Sequence[Polynomial],
    workload: Workload,
    sizes: Mapping[str, int],
    held: Mapping[str, int],
    scenarios: Sequence[Mapping[str, int]],
) -> Iterator[dict[str, int]]:
    """Sizes that can be built: the scenarios, every corner of the far ones, then ever larger.

    Along one term's axes, doubled together with the others small, any excess of a higher
    degree shows in the end.

    Args:
        formula: the one that may be larger.
        others: those that it is compared with.
        workload: says how far its axes go, and which sizes go together.
        sizes: the scenario.
        held: axes that stay where they are.
        scenarios: further sizes to try first.
    """
    for chosen in (sizes, *scenarios):
        yield from _settled(workload, {**sizes, **chosen, **held}, held)
    wanted = formula.axes.union(*(other.axes for other in others))
    axes = [axis for axis in workload.axes if axis.name in wanted and axis.name not in held]
    ranges = {a.name: sorted({a.lower, sizes[a.name], *a.far}) for a in axes}
    ends = {name: sorted({values[0], sizes[name], values[-1]}) for name, values in ranges.items()}
    for corner in product(*ends.values()):
        yield from _settled(workload, {**sizes, **dict(zip(ends, corner, strict=True))}, held)
    small = {name: values[0] for name, values in ranges.items()}
    for monomial in formula.terms:
        for doublings in range(1, _MAX_DOUBLINGS + 1):
            grown = {a: ranges[a][-1] << doublings for a in set(monomial) if a in ranges}
            yield from _settled(workload, {**sizes, **small, **grown}, held)


def _settled(
    workload: Workload, sizes: Mapping[str, int], held: Mapping[str, int]
) -> Iterator[dict[str, int]]:
    point = workload.settle(sizes)
    if point is not None and all(point.get(axis, size) == size for axis, size in held.items()):
        yield dict(point)
