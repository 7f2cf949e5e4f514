"""Runs the code at the sizes that a law is sought on, and at those it is checked on."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from oom_suite.errors import OomSuiteError
from oom_suite.laws.branches import Branch, distinct_hints, holds, other_side
from oom_suite.laws.closed_form import closed_form, covers, same_law
from oom_suite.laws.lengths import FEW
from oom_suite.laws.plain_words import plain
from oom_suite.laws.words import listed
from oom_suite.records.symbolic import Hints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from oom_suite.laws.differences import Index
    from oom_suite.records import Axis, Frame, Workload
    from oom_suite.records.symbolic import Guard, SymbolicTrace


_NUM_NEAR = 3
_NUM_FAR = 3
_MAX_DRAWS = 12
_SEED = 41962


class Steps(Protocol):
    """Sizes to start from, and how far one step goes along each axis that is moved."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Where it starts."""
        ...

    @property
    def steps(self) -> Mapping[str, int]:
        """The distance of one step."""
        ...

    def point(self, index: Index) -> dict[str, int]:
        """The sizes that so many steps along some axes change."""
        ...


def probes(
    workload: Workload,
    grid: Steps,
    is_short: Callable[[Mapping[str, int]], bool] = lambda _: True,
) -> Iterator[Sequence[Mapping[str, int]]]:
    """Sizes to check a law at, each with what to take instead where it cannot be run.

    In this order: each forbidden axis at its far values, all of them at once; every other
    axis at its far values, with the forbidden ones far as well, so that one run checks both;
    every axis moved at once, nearby and far.

    Args:
        workload: its axes are moved.
        grid: where the law was fitted, or is to be checked.
        is_short: whether a run at some sizes takes no time to speak of; others are left out.
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
            wishes = _buildable(workload, {**moved, **largest}, moved)
            yield [wish for wish in wishes if is_short(wish)] or wishes[-1:]
    yield from _near(workload, grid)
    yield from _far(workload, sizes, is_short)


def _near(workload: Workload, grid: Steps) -> Iterator[Sequence[Mapping[str, int]]]:
    """Every axis some steps away at once."""
    chance = random.Random(_SEED)
    num_left = _NUM_NEAR if grid.steps else 0
    for _ in range(_MAX_DRAWS):
        point = grid.point(tuple((axis, chance.randint(1, 3)) for axis in grid.steps))
        if num_left and workload.is_valid({**grid.sizes, **point}):
            num_left -= 1
            yield [{**grid.sizes, **point}]


def _far(
    workload: Workload, sizes: Mapping[str, int], is_short: Callable[[Mapping[str, int]], bool]
) -> Iterator[Sequence[Mapping[str, int]]]:
    """Every axis at the scenario's or a far value, at once."""
    chance = random.Random(_SEED)
    num_left = _NUM_FAR
    for _ in range(_MAX_DRAWS):
        drawn = {axis.name: chance.choice((sizes[axis.name], *axis.far)) for axis in workload.axes}
        found = _buildable(workload, {**sizes, **drawn})
        if num_left and found and is_short(found[0]):
            num_left -= 1
            yield found


def _buildable(workload: Workload, *wishes: Mapping[str, int]) -> list[Mapping[str, int]]:
    settled = (workload.settle(wish) for wish in wishes)
    return [sizes for sizes in settled if sizes is not None]


_MAX_SPECIALISATIONS = 4

LONGEST = 300
"""Operators of a symbolic run, from which on it is stopped where an axis was made a number.

Each takes some ten times as long as on plain sizes, and a loop that such an axis turns says no
more in a hundred turns than in a few.
"""


class Explorer:
    """Runs the code on symbols, again where it takes other branches.

    Attributes:
        held: axes that the code made numbers of: the scenario's value, and the line that did.
        notes: what could not be explored, and why.
        num_runs: runs made.
    """

    def __init__(
        self,
        run: Callable[[Hints], SymbolicTrace],
        workload: Workload,
        sizes: Mapping[str, int],
        max_runs: int,
    ) -> None:
        self._run = run
        self._workload = workload
        self._sizes = dict(sizes)
        self._max_runs = max_runs
        self._axes = {axis.name for axis in workload.axes}
        self._lower = {axis.name: axis.lower for axis in workload.axes}
        self._tried: set[str] = set()
        self._made: list[Branch] = []
        self._few: frozenset[str] = frozenset()
        self._longest = LONGEST
        self.held: dict[str, tuple[int, Frame | None]] = {}
        self.notes: list[str] = []
        self.num_runs = 0

    def begin(self) -> Branch:
        """The branch of the scenario: axes that the code makes numbers of have its values.

        Raises:
            OomSuiteError: the code cannot run on symbols.
        """
        hints = distinct_hints(self._workload, self._sizes)
        trace = self._trace(hints)
        for _ in range(_MAX_SPECIALISATIONS):
            new = {a: line for a, (_, line) in trace.specialised.items()}
            if new.keys() <= self.held.keys():
                break
            self.held |= {axis: (self._sizes[axis], line) for axis, line in new.items()}
            wish = {**hints, **{axis: size for axis, (size, _) in self.held.items()}}
            hints = dict(self._workload.settle(wish) or wish)
            trace = self._trace(hints)
            if trace.is_cut:
                hints, trace = self._shortened(hints, trace)
        return self._branch(trace)

    def _shortened(
        self, hints: Mapping[str, int], trace: SymbolicTrace
    ) -> tuple[dict[str, int], SymbolicTrace]:
        """The hints and a whole run at a few of the axes that the code makes numbers of.

        Where no such run is whole, the code is as long without a loop, and is run to its end.
        """
        few = dict(hints)
        for axis in self._workload.axes:
            value = max(axis.lower, FEW)
            if axis.name not in self.held or value >= few[axis.name]:
                continue
            wish = self._workload.settle({**few, axis.name: value})
            if wish is None:
                continue
            try:
                trace = self._trace(wish)
            except OomSuiteError:
                continue
            few = dict(wish)
            if not trace.is_cut:
                moved = {a: few[a] for a in self.held if few[a] != hints[a]}
                self.held |= {a: (size, self.held[a][1]) for a, size in moved.items()}
                self._few = frozenset(moved)
                return few, trace
        self._longest = 0
        return dict(hints), self._trace(hints)

    def explore(self, main: Branch) -> list[Branch]:
        """The laws found, that of `main` first, each with the guards that do not matter to it.

        A guard does not matter to a law where a run on its other side has that law, and no run
        on its other side has another.
        """
        groups = [[main]]
        waiting = [main]
        while waiting:
            for found in self._beyond(waiting.pop(0)):
                self._place(found, groups)
                waiting.append(found)
        groups += [[found] for found in self._elsewhere(main)]
        return [_settled(group, groups) for group in groups]

    def _place(self, found: Branch, groups: list[list[Branch]]) -> None:
        for group in groups:
            law = group[0].law
            is_wider = law.held.items() <= found.law.held.items()
            if is_wider and same_law(law, found.law, self._lower):
                group.append(found)
                return
        groups.append([found])

    def _beyond(self, branch: Branch) -> Iterator[Branch]:
        """One run beyond each guard of a branch that was not tried yet."""
        for guard in branch.trace.guards:
            text, names = str(guard.formula), guard.formula.names
            if text in self._tried or not names <= self._axes or names & branch.law.held.keys():
                continue
            self._tried.add(text)
            if any(_is_beyond(made, guard) for made in self._made):
                continue
            sizes = other_side(guard, self._workload, branch.trace.hints.sizes)
            if sizes is None:
                continue
            found = self._try(sizes, f"where {guard} is false")
            if found is not None:
                yield found

    def _elsewhere(self, main: Branch) -> Iterator[Branch]:
        """Runs at other values of the axes that the code makes numbers of."""
        for axis in self._workload.axes:
            if axis.name not in self.held:
                continue
            for value in self._other_values(axis):
                wish = {**main.trace.hints.sizes, axis.name: value}
                sizes = self._workload.settle(wish)
                where = listed({axis.name: value})
                found = self._try(sizes, f"at {where}") if sizes is not None else None
                if found is None or value == self.held[axis.name][0]:
                    continue
                one, other = main.law.regimes, found.law.regimes
                if covers(one, other, self._lower) and covers(other, one, self._lower):
                    self.notes.append(f"the same law at {where}")
                yield found

    def _other_values(self, axis: Axis) -> list[int]:
        """The ends of what an axis is to be tried at; of one that turns a loop, the least."""
        ends = {min(axis.far), max(axis.far)} if axis.far else set()
        own = self.held[axis.name][0]
        return sorted(end for end in ends if axis.name not in self._few or end <= own)

    def _try(self, sizes: Mapping[str, int], where: str) -> Branch | None:
        if self.num_runs >= self._max_runs:
            self.notes.append(f"{where}, nothing was run: {self._max_runs} runs were made")
            return None
        try:
            trace = self._trace(sizes)
        except OomSuiteError as error:
            self.notes.append(f"{where}, it cannot be run: {plain(str(error))}")
            return None
        if trace.is_cut:
            self.notes.append(f"{where}, it was not run to its end, which is far")
            return None
        return self._branch(trace)

    def _trace(self, sizes: Mapping[str, int]) -> SymbolicTrace:
        """The symbolic run at these sizes; cut short where it is long and follows a number."""
        held = tuple(name for name in sizes if name not in self._axes or name in self.held)
        self.num_runs += 1
        return self._run(Hints(dict(sizes), held, self._lower, self._longest))

    def _branch(self, trace: SymbolicTrace) -> Branch:
        law, regimes = closed_form(trace)
        made = Branch(law, regimes, trace)
        self._made.append(made)
        return made


def _settled(group: list[Branch], groups: list[list[Branch]]) -> Branch:
    """The first of a group, with the guards that the others show not to matter."""
    first = group[0]
    guards = [guard for branch in group for guard in branch.trace.guards]
    strangers = [branch for other in groups if other is not group for branch in other]
    checked = {
        str(guard.formula)
        for guard in guards
        if any(_is_beyond(branch, guard) for branch in group)
        and not any(_is_beyond(branch, guard) for branch in strangers)
    }
    return replace(first, checked=frozenset(checked))


def _is_beyond(branch: Branch, guard: Guard) -> bool:
    """Whether a branch was run at sizes where that guard is false."""
    sizes = branch.trace.hints.sizes
    return guard.formula.names <= sizes.keys() and not holds(guard, sizes)
