"""The largest size of each axis whose peak fits a budget: the law solved for one axis."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from oom_suite.allocator import taken_alone
from oom_suite.records.law_page import LimitRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from oom_suite.laws.derivation import Derivation
    from oom_suite.records import Workload

    Point = Mapping[str, int]

_HIGHEST = 1 << 50
"""No size is looked for above this: nothing that large can be addressed."""


def limits(derivation: Derivation, workload: Workload, free_bytes: int) -> tuple[LimitRow, ...]:
    """For each axis, and for both pools together, the most that fits, all else as it is.

    Each live tensor counts as the allocator serves it from a segment of its own. Sizes that
    cannot be built, because more blocks are referenced than there are, are no limit of the budget.

    **Does not prove:** anything where another law holds than the one around the scenario; or
    that no larger size fits: what a segment's rest adds comes and goes from size to size.
    """
    return tuple(_limits(derivation, workload, free_bytes))


def _limits(derivation: Derivation, workload: Workload, free_bytes: int) -> Iterator[LimitRow]:
    names = [axis.name for axis in workload.axes]
    pools = [name for name in names if name.endswith("_num_blocks")]
    grow = len(derivation.law.axes & set(pools)) > 1
    together = [("num_blocks (every pool)", pools)] if grow else []
    decided = sorted(derivation.law.axes - derivation.law.sizes.keys())
    for shown, axes in [*together, *((name, [name]) for name in names)]:
        held = [axis for axis in axes if axis in derivation.law.held]
        if held:
            reason = f"the law holds it at {derivation.law.held[held[0]]:,}"
            yield LimitRow(shown, None, reason, is_solved=False)
        elif not derivation.law.axes & set(axes):
            yield LimitRow(shown, None, "it is in no term")
        elif decided:
            reason = f"data decides {', '.join(decided)}"
            yield LimitRow(shown, None, reason, is_solved=False)
        else:
            yield _solved(shown, axes, derivation, workload, free_bytes)


def _solved(
    shown: str, axes: list[str], derivation: Derivation, workload: Workload, free_bytes: int
) -> LimitRow:
    def point(size: int) -> Point | None:
        wanted = dict.fromkeys(axes, size)
        settled = workload.settle({**derivation.law.sizes, **wanted})
        built = settled is not None and all(settled[axis] == size for axis in axes)
        return settled if built else None

    def fits(size: int) -> bool:
        there = point(size)
        return there is not None and allocated_bytes(derivation, there) <= free_bytes

    largest = _largest(fits)
    if largest >= _HIGHEST:
        return LimitRow(shown, None, f"{_HIGHEST:,} of them fit")
    if point(largest + 1) is None:
        return LimitRow(shown, None, f"all that can be built fit, and those are {largest:,}")
    also = "" if derivation.is_global else "as far as the law around the scenario holds"
    return LimitRow(shown, largest, also)


def allocated_bytes(derivation: Derivation, sizes: Point) -> int:
    """The law's peak at these sizes with every live tensor as the allocator serves it alone."""
    return max(
        (
            sum(taken_alone(max(0, ceil(held(sizes)))) for _, held in regime.live)
            for regime in derivation.regimes
        ),
        default=0,
    )


def _largest(fits: Callable[[int], bool]) -> int:
    """The largest size that fits where every smaller one does; 0 when 1 does not."""
    low, high = 0, 1
    while high <= _HIGHEST and fits(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
