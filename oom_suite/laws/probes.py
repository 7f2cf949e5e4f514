"""The sizes that a law is checked at and was not fitted to."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from oom_suite.laws.grid import Grid
    from oom_suite.records import Workload

_NUM_NEAR = 3
_NUM_FAR = 3
_MAX_DRAWS = 12
_SEED = 41962


def probes(workload: Workload, grid: Grid) -> Iterator[Sequence[Mapping[str, int]]]:
    """Sizes to check a law at, each with what to take instead where it cannot be run.

    In this order: each forbidden axis at its far values, all of them at once; every other
    axis at its far values, with the forbidden ones far as well, so that one run checks both;
    every axis moved at once, nearby and far.
    """
    sizes, forbidden = grid.sizes, workload.contract.independent_of
    far = {axis.name: axis.far for axis in workload.axes}
    for axis in forbidden:
        for value in far.get(axis, ()):
            yield _buildable(workload, {**sizes, axis: value})
    largest = {axis: max(far[axis]) for axis in forbidden if far.get(axis)}
    smallest = {axis: min(far[axis]) for axis in largest}
    if len(largest) > 1:
        yield _buildable(workload, {**sizes, **largest})
        yield _buildable(workload, {**sizes, **smallest})
    for axis, values in far.items():
        for value in values if axis not in forbidden else ():
            moved = {**sizes, axis: value}
            yield _buildable(workload, {**moved, **largest}, moved)
    yield from _near(workload, grid)
    yield from _far(workload, sizes)


def _near(workload: Workload, grid: Grid) -> Iterator[Sequence[Mapping[str, int]]]:
    """Every axis some steps away at once."""
    chance = random.Random(_SEED)  # noqa: S311 - sizes to try, nothing secret
    num_left = _NUM_NEAR if grid.steps else 0
    for _ in range(_MAX_DRAWS):
        point = grid.point(tuple((axis, chance.randint(1, 3)) for axis in grid.steps))
        if num_left and workload.is_valid({**grid.sizes, **point}):
            num_left -= 1
            yield [{**grid.sizes, **point}]


def _far(workload: Workload, sizes: Mapping[str, int]) -> Iterator[Sequence[Mapping[str, int]]]:
    """Every axis at the scenario's or a far value, at once."""
    chance = random.Random(_SEED)  # noqa: S311 - sizes to try, nothing secret
    num_left = _NUM_FAR
    for _ in range(_MAX_DRAWS):
        drawn = {axis.name: chance.choice((sizes[axis.name], *axis.far)) for axis in workload.axes}
        found = _buildable(workload, {**sizes, **drawn})
        if num_left and found:
            num_left -= 1
            yield found


def _buildable(workload: Workload, *wishes: Mapping[str, int]) -> list[Mapping[str, int]]:
    settled = (workload.settle(wish) for wish in wishes)
    return [sizes for sizes in settled if sizes is not None]
