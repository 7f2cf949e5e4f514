"""Finds, among many changes that together change a result, the smallest that does alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oom_suite.records.safety import Region

Item = TypeVar("Item")


def smallest(items: Sequence[Item], changes: Callable[[Sequence[Item]], bool]) -> tuple[Item, ...]:
    """A part of the items that changes the result, halved until no half alone does.

    Args:
        items: all of them together change it.
        changes: whether these do.
    """
    left = tuple(items)
    while len(left) > 1:
        half = len(left) // 2
        if changes(left[:half]):
            left = left[:half]
        elif changes(left[half:]):
            left = left[half:]
        else:
            break
    return left


def narrowed(region: Region, changes: Callable[[Region], bool]) -> Region:
    """The run of bytes within a region from the first to the last that changes the result.

    Args:
        region: all of it changes the result.
        changes: whether a part of it does; a part of what changes nothing must not change it.
    """
    end = region.first_byte + region.num_bytes

    def part(first: int, stop: int) -> Region:
        return replace(region, first_byte=first, num_bytes=stop - first)

    first = _last_true(region.first_byte, end - 1, lambda at: changes(part(at, end)))
    stop = -_last_true(-end, -first - 1, lambda at: changes(part(first, -at)))
    return part(first, stop)


def _last_true(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The last number from `low` to `high` for which it holds; it holds for `low`."""
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low
