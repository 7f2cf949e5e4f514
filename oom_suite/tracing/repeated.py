"""Calls at the same sizes, one after the other: what each leaves alive, and what holds it."""

from __future__ import annotations

import gc
from bisect import bisect_right
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.records.kept import DEVICE, MAX_CALLS, Kept, RepeatedCalls, is_settled
from oom_suite.tracing.holders import holders

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.records import Frame
    from oom_suite.tracing.book import Book
    from oom_suite.tracing.recorder import Recorder


class Repeated:
    """A call made again and again, until it is clear what it leaves.

    Attributes:
        found: what was seen; None before it is called.
    """

    def __init__(
        self,
        recorder: Recorder,
        build: Callable[[], Callable[[], object]],
        is_under_test: Callable[[str], bool],
    ) -> None:
        self._recorder = recorder
        self._build = build
        self._is_under_test = is_under_test
        self._call: Callable[[], object] | None = build()
        self.found: RepeatedCalls | None = None

    def __call__(self) -> None:
        """Make the calls."""
        books = self._recorder.books.named
        while not is_settled(book.live_bytes for book in books.values()):
            if len(books[DEVICE].live_bytes) == MAX_CALLS:
                break
            self._once()
            # Its own cycles are no state; none is older than the last call.
            gc.collect(0)
            self._recorder.mark()
        live_bytes = {memory: tuple(book.live_bytes) for memory, book in books.items()}
        kept, newest = _kept(books)
        # What the call alone holds can be named before it is gone, by what is as young as it is.
        names = holders(newest.values(), self._is_under_test, is_old=False)
        self._call = None
        gc.collect()
        outliving = {
            key: book.requests[number][0] for book in books.values() for key, number in book.alive()
        }
        lasting = [key for key in newest.values() if key in outliving]
        names |= holders(lasting, self._is_under_test, is_old=True)
        self.found = RepeatedCalls(
            live_bytes,
            tuple(replace(each, holder=names.get(newest[place], "")) for place, each in kept),
            sum(outliving.values()),
        )

    def _once(self) -> None:
        """One call; where it cannot be made with the inputs of the last, with new ones."""
        try:
            assert self._call is not None
            self._call()
        except Exception:
            if not self._recorder.books.device.live_bytes:
                raise
        else:
            return
        self._call = None
        with self._recorder.paused():
            self._call = self._build()
        self._call()


_Place = tuple[str, "Frame | None"]
"""A memory, and the line that made what lies there."""


def _kept(books: Mapping[str, Book]) -> tuple[list[tuple[_Place, Kept]], dict[_Place, int]]:
    """What is alive, by the line that made it, the largest first, and each line's newest."""
    newest: dict[_Place, int] = {}
    sizes: Counter[_Place] = Counter()
    recent: Counter[_Place] = Counter()
    for memory, book in books.items():
        later = len(book.live_bytes) // 2
        for key, number in book.alive():
            num_bytes, _, stack = book.requests[number]
            place = (memory, stack[0] if stack else None)
            newest[place] = key
            sizes[place] += num_bytes
            is_recent = bisect_right(book.requests_at_marks, number) >= later
            recent[place] += num_bytes if is_recent else 0
    kept = [(place, Kept(place[0], "", place[1], sizes[place], recent[place])) for place in newest]
    return sorted(kept, key=lambda each: -each[1].num_bytes), newest
