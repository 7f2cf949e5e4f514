"""Best-first search of a box of sizes for the largest peak, with bounds on all that is left.

The part of the box that could hold the largest peak is looked at next. It is done with where its
bound is reached, as a law without negative coefficients does at the upper corner; else it is
halved. So the first peak that no other part could exceed is the exact maximum of the box.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import TYPE_CHECKING

from oom_suite.records.covering import Coverage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from oom_suite.laws.covering.intervals import Ranges
    from oom_suite.laws.covering.pieces import Known, Piece
    from oom_suite.records.covering import Box

    Sizes = Mapping[str, int]
    Settle = Callable[[Sizes], Sizes | None]
    Explore = Callable[[Ranges], Piece | str]

MAX_PARTS = 4096
"""Parts of a box, at most, that are looked at: some seconds."""


def _as_it_is(sizes: Sizes) -> Sizes | None:
    return sizes


def _nothing_more(ranges: Ranges) -> str:
    del ranges
    return "no law speaks of them"


def covering(
    pieces: Iterable[Piece],
    box: Box,
    allowed_bytes: int,
    settle: Settle = _as_it_is,
    explore: Explore = _nothing_more,
    max_parts: int = MAX_PARTS,
) -> Coverage:
    """Whether a law is nowhere above a number of bytes over a box, with its largest peak there.

    Args:
        pieces: the law, as far as it is known.
        box: the sizes.
        allowed_bytes: what it must not be above.
        settle: the nearest sizes that can be built, as of `Workload`; a size that it lowers can be
            no larger where others are smaller.
        explore: given a part of the box of whose upper corner no piece speaks: one that does,
            or why there is none.
        max_parts: parts of the box that are looked at.

    **Does not prove:** what the pieces do not say: that they are right, and where each holds.
    """
    search = Search(list(pieces), settle, explore)
    search.run({axis: (least, most) for axis, least, most in box}, max_parts)
    return search.coverage(allowed_bytes, box)


@dataclass
class Search:
    """The parts of a box that are left, and the largest peak found.

    Attributes:
        pieces: the law, as far as it is known; what `explore` finds is added.
        settle: as of `covering`.
        explore: likewise.
        best: the largest peak of the law and its sizes; None where there is none.
        done_bytes: what no peak is above in the parts that are done with; None where none is.
        left: the parts that are left, the one with the highest bound first.
        gaps: parts of which no law speaks, each with why.
    """

    pieces: list[Piece]
    settle: Settle
    explore: Explore
    best: tuple[Known, Sizes] | None = None
    done_bytes: int | None = None
    left: list[tuple[float, int, Ranges]] = field(default_factory=list)
    gaps: list[tuple[Ranges, str]] = field(default_factory=list)
    _asked: dict[tuple[tuple[str, int], ...], str] = field(default_factory=dict)
    _order: Iterator[int] = field(default_factory=lambda: count(0, -1))

    def run(self, box: Ranges, max_parts: int) -> None:
        """Look at parts of a box until nothing left can exceed what was found."""
        self._push(box)
        for _ in range(max_parts):
            if not self.left or -self.left[0][0] <= self._best_bytes:
                return
            self._look(heapq.heappop(self.left)[2])

    def coverage(self, allowed_bytes: int, box: Box) -> Coverage:
        """What was found, beside what is allowed."""
        best, sizes = self.best or (None, {})
        # Nothing but what is left can be above what was found and what is done with.
        highest = max(self.done_bytes or 0, *(-bound for bound, _, _ in self.left[:1]), 0)
        at_most = None if self.gaps or highest == inf else int(highest)
        gap, gap_sizes = self._gap(allowed_bytes)
        return Coverage(
            allowed_bytes=allowed_bytes,
            box=box,
            most_bytes=None if best is None else best.seen_bytes,
            sizes=dict(sizes),
            is_most=best is not None and best.seen_bytes == at_most,
            at_most_bytes=at_most,
            formula=None if best is None else best.formula,
            decided={} if best is None else best.decided,
            gap=gap,
            gap_sizes=dict(gap_sizes),
        )

    @property
    def _best_bytes(self) -> float:
        return -inf if self.best is None else self.best[0].seen_bytes

    def _gap(self, allowed_bytes: int) -> tuple[str, Sizes]:
        """What keeps the promise from being decided, and sizes there."""
        if self.gaps:
            part, why = self.gaps[0]
            return why, _upper(part)
        if self.left and -self.left[0][0] > allowed_bytes:
            bound, _, part = self.left[0]
            reach = "no law is known" if bound == -inf else f"at most {int(-bound):,} bytes"
            parts = f"{len(self.left):,} {'part' if len(self.left) == 1 else 'parts'} of the box"
            return f"{reach}, and {parts} were not looked at", _upper(part)
        if (self.done_bytes or 0) > max(allowed_bytes, self._best_bytes):
            return f"at most {self.done_bytes:,} bytes, which is a bound and may not be reached", {}
        return "", {}

    def _push(self, part: Ranges) -> None:
        fitted = _fitted(part, self.settle)
        if fitted is not None:
            heapq.heappush(self.left, (-self._bound(fitted), next(self._order), fitted))

    def _over(self, part: Ranges) -> Piece | None:
        """The piece that holds everywhere in a part."""
        return next((piece for piece in self.pieces if piece.applies(part)), None)

    def _bound(self, part: Ranges) -> float:
        """What no peak in a part is above; without an end where not one law speaks of all of it."""
        piece = self._over(part)
        found = None if piece is None else piece.over(part)
        return inf if found is None else found

    def _look(self, part: Ranges) -> None:
        """Take the peak at the upper corner, and halve the part where that does not settle it."""
        sizes = _upper(part)
        piece = self._over(part)
        if piece is not None:
            self._look_under(piece, part, sizes)
            return
        here = self._over(_at(sizes))
        if here is not None:
            self._take(here, sizes)
            axes, why = here.undecided(part), "a condition of the code cannot be evaluated there"
        else:
            why = self._explored(part, sizes)
            if not why:
                self._push(part)
                return
            # Elsewhere in the part a law may speak, and be over.
            may = (piece for piece in self.pieces if piece.applies(part) is None)
            axes = frozenset().union(*(piece.undecided(part) for piece in may))
        halves = _halves(part, axes)
        if not halves:
            self.gaps.append((part, why))
        for half in halves:
            self._push(half)

    def _explored(self, part: Ranges, sizes: Sizes) -> str:
        """Look for a law that speaks of the upper corner; why there is none, or nothing."""
        corner = tuple(sizes.items())
        if corner not in self._asked:
            found = self.explore(part)
            if isinstance(found, str):
                self._asked[corner] = found
            elif found.applies(_at(sizes)):
                self.pieces.append(found)
                return ""
            else:
                self._asked[corner] = "no run took their branches"
        return self._asked[corner]

    def _look_under(self, piece: Piece, part: Ranges, sizes: Sizes) -> None:
        """The same where one law speaks of all of the part."""
        bound, reached = piece.over(part), self._take(piece, sizes)
        if bound is None:
            self.gaps.append((part, "nothing that is known bounds what data decides"))
            return
        halves = () if reached == bound else _halves(part, piece.axes)
        if not halves:
            self.done_bytes = max(self.done_bytes or 0, bound)
        for half in halves:
            self._push(half)

    def _take(self, piece: Piece, sizes: Sizes) -> int | None:
        """What the peak is at most at sizes that can be built; the largest one seen is kept."""
        known = piece.at(sizes) if self.settle(sizes) == sizes else None
        if known is None:
            return None
        if self.best is None or known.seen_bytes > self._best_bytes:
            self.best = known, sizes
        return known.most_bytes


def _fitted(part: Ranges, settle: Settle) -> Ranges | None:
    """A part without the sizes that cannot be built with any others in it; None where all are so.

    An axis that the upper corner's own limit lowers can be no larger anywhere in the part.
    """
    settled = settle(_upper(part))
    if settled is None:
        return part
    fitted = {axis: (low, min(high, settled[axis])) for axis, (low, high) in part.items()}
    return None if any(low > high for low, high in fitted.values()) else fitted


def _upper(part: Ranges) -> dict[str, int]:
    return {axis: high for axis, (_, high) in part.items()}


def _at(sizes: Sizes) -> Ranges:
    return {axis: (size, size) for axis, size in sizes.items()}


def _halves(part: Ranges, axes: Iterable[str]) -> tuple[Ranges, ...]:
    """The part in two, along the widest of these axes; none where each is one size.

    The upper half comes last, and is looked at first where the bounds are alike.
    """
    wide = [axis for axis in axes if axis in part and part[axis][0] < part[axis][1]]
    if not wide:
        return ()
    axis = max(sorted(wide), key=lambda each: part[each][1] / max(1, part[each][0]))
    low, high = part[axis]
    middle = (low + high) // 2
    return {**part, axis: (low, middle)}, {**part, axis: (middle + 1, high)}
