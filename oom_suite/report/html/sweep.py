"""A law over one number: its values, and where another of its regimes begins to win."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.report.rows import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from oom_suite.records import Law, Result

_FAR = 2**22


@dataclass(frozen=True, slots=True)
class Regime:
    """A formula of a law, the pools at which it wins (empty: at none), whether it does here."""

    text: str
    pools: str
    is_here: bool


class Sweep:
    """A law as a function of one number, which all swept axes take; the others stay.

    Args:
        law: the law; every axis it depends on has a value in `sizes`.
        sizes: the scenario's sizes.
        axes: the swept axes.
    """

    def __init__(self, law: Law, sizes: Mapping[str, int], axes: tuple[str, ...]) -> None:
        self.law = law
        self._sizes = dict(sizes)
        self._axes = axes

    def __call__(self, pool: int) -> int:
        """Peak requested bytes at this pool."""
        return self.law(self._at(pool))

    def winner(self, pool: int) -> int:
        """Which of the law's regimes is the maximum at this pool; the first of equal ones."""
        sizes = self._at(pool)
        values = [regime(sizes) for regime in self.law.regimes]
        return values.index(max(values))

    def changes(self, pools: Sequence[int]) -> tuple[int, ...]:
        """The smallest pool, exactly, of each stretch that another regime wins.

        A regime that wins only between two neighbours of `pools` is not found.
        """
        found = []
        start = pools[0]
        for right in pools[1:]:
            while (now := self.winner(start)) != self.winner(right):
                low, high = start, right
                while high - low > 1:
                    middle = (low + high) // 2
                    low, high = (middle, high) if self.winner(middle) == now else (low, middle)
                found.append(high)
                start = high
            start = right
        return tuple(found)

    def _at(self, pool: int) -> dict[str, int]:
        return {**self._sizes, **dict.fromkeys(self._axes, pool)}


def lowest_pool(sizes: Mapping[str, int], axes: tuple[str, ...]) -> int:
    """The smallest pool with a meaning: one that holds the referenced blocks."""
    return min(max(1, sizes.get("referenced_blocks", 1)), *(sizes[axis] for axis in axes))


def spread(low: int, high: int, linear_high: int, marks: Iterable[int]) -> tuple[int, ...]:
    """Values close enough together on either kind of axis, round where they can be.

    Args:
        low: the first.
        high: the last.
        linear_high: up to here values stand evenly too.
        marks: values that must be among them.
    """
    pools = {low, high, *marks}
    decade = 1
    while decade <= high:
        pools.update(decade * step // 20 for step in (20, 25, 30, 40, 50, 60, 80, 100, 120, 160))
        decade *= 10
    pools.update(linear_high * k // 60 for k in range(1, 61))
    return tuple(sorted(n for n in pools if low <= n <= high))


def sweep_of(result: Result, axes: tuple[str, ...]) -> Sweep | None:
    """The result's law over these axes; None where it has none, or lacks a size for it."""
    law = result.law
    if law is None or not axes or not law.axes | set(axes) <= set(result.sizes):
        return None
    if law.held.keys() & set(axes):  # it speaks of one value of them
        return None
    return Sweep(law, result.sizes, axes)


def regime_ranges(result: Result, axes: tuple[str, ...]) -> tuple[str, ...]:
    """For each regime of a result's law, at which pools it is the maximum, in words.

    Empty words for a regime that wins at none; none at all where the law cannot be swept.
    """
    sweep = sweep_of(result, axes)
    if sweep is None:
        return ()
    low = lowest_pool(result.sizes, axes)
    high = max(_FAR, 64 * max(result.sizes[axis] for axis in axes))
    starts = (low, *sweep.changes(spread(low, high, high, ())))
    ranges: dict[int, list[str]] = {}
    for start, end in zip(starts, (*starts[1:], None), strict=True):
        text = f"from {start:,} on" if end is None else f"{start:,} to {end - 1:,}"
        ranges.setdefault(sweep.winner(start), []).append(text)
    return tuple(" and ".join(ranges.get(index, ())) for index in range(len(sweep.law.regimes)))


def regimes_of(result: Result, axes: tuple[str, ...]) -> tuple[Regime, ...]:
    """All formulas of a result's law, with the pools at which they win."""
    law = result.law
    if law is None:
        return ()
    ranges = regime_ranges(result, axes) or ("",) * len(law.regimes)
    return tuple(
        Regime(printable(str(regime)), pools, index == 0)
        for index, (regime, pools) in enumerate(zip(law.regimes, ranges, strict=True))
    )
