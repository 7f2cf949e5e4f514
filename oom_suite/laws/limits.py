"""The largest size of each axis whose peak fits a budget: the law solved for one axis."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from oom_suite.allocator import taken_alone
from oom_suite.records.law_page import LimitRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from oom_suite.laws.derivation import Derivation
    from oom_suite.records import Polynomial, Workload

    Point = Mapping[str, int]

_HIGHEST = 1 << 50
"""No size is looked for above this: nothing that large can be addressed."""


def limits(
    derivation: Derivation,
    workload: Workload,
    free_bytes: int,
    inside: Sequence[Polynomial] = (),
) -> tuple[LimitRow, ...]:
    """For each axis, and for both pools together, the most that fits, all else as it is.

    Each live tensor counts as the allocator serves it from a segment of its own, and so does what
    kernels take at most, all of them at once. Sizes that cannot be built, because more blocks are
    referenced than there are, are no limit of the budget.

    **Does not prove:** anything where another law holds than the one around the scenario; or
    that no larger size fits: what a segment's rest adds comes and goes from size to size.
    """
    return tuple(_limits(derivation, workload, free_bytes, inside))


def _limits(
    derivation: Derivation, workload: Workload, free_bytes: int, inside: Sequence[Polynomial]
) -> Iterator[LimitRow]:
    names = [axis.name for axis in workload.axes]
    pools = [name for name in names if name.endswith("_num_blocks")]
    in_terms = derivation.law.axes.union(*(bound.axes for bound in inside))
    grow = len(in_terms & set(pools)) > 1
    together = [("num_blocks (every pool)", pools)] if grow else []
    decided = sorted(in_terms - derivation.law.sizes.keys())
    for shown, axes in [*together, *((name, [name]) for name in names)]:
        held = [axis for axis in axes if axis in derivation.law.held]
        if held:
            reason = f"the law holds it at {derivation.law.held[held[0]]:,}"
            yield LimitRow(shown, None, reason, is_solved=False)
        elif not in_terms & set(axes):
            yield LimitRow(shown, None, "it is in no term")
        elif decided:
            reason = f"data decides {', '.join(decided)}"
            yield LimitRow(shown, None, reason, is_solved=False)
        else:
            needed = _Needed(derivation, inside)
            yield _solved(shown, axes, needed, workload, free_bytes)


def _solved(
    shown: str, axes: list[str], needed: _Needed, workload: Workload, free_bytes: int
) -> LimitRow:
    derivation = needed.derivation

    def point(size: int) -> Point | None:
        wanted = dict.fromkeys(axes, size)
        settled = workload.settle({**derivation.law.sizes, **wanted})
        built = settled is not None and all(settled[axis] == size for axis in axes)
        return settled if built else None

    def fits(size: int) -> bool:
        there = point(size)
        return there is not None and needed.num_bytes(there) <= free_bytes

    largest = _largest(fits)
    if largest >= _HIGHEST:
        return LimitRow(shown, None, f"{_HIGHEST:,} of them fit")
    if point(largest + 1) is None:
        return LimitRow(shown, None, f"all that can be built fit, and those are {largest:,}")
    also = "" if derivation.is_global else "as far as the law around the scenario holds"
    return LimitRow(shown, largest, also)


@dataclass(frozen=True, slots=True)
class _Needed:
    """What a call needs: its law, and what kernels take beside it at most."""

    derivation: Derivation
    inside: Sequence[Polynomial]

    def num_bytes(self, sizes: Point) -> int:
        taken = sum(taken_alone(max(0, ceil(bound(sizes)))) for bound in self.inside)
        return allocated_bytes(self.derivation, sizes) + taken


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
