"""Calls at the same sizes, one after the other: what each leaves alive, and what holds it."""

from __future__ import annotations

import gc
from bisect import bisect_right
from collections import Counter
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

    Args:
        recorder: records all calls as one.
        build: makes the inputs, and gives the call.
        is_under_test: as of `holders`.

    Attributes:
        found: what was seen; None before it is called.
    """

    def __init__(
        self,
        recorder: Recorder,
        build: Callable[[], Callable[[], object]],
        is_under_test: Callable[[str], bool],
    ) -> None:
        """Make the first inputs."""
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
        kept = self._kept(books)
        self._call = None
        gc.collect()
        outliving = sum(
            book.requests[number][0] for book in books.values() for _, number in book.alive()
        )
        self.found = RepeatedCalls(live_bytes, kept, outliving)

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

    def _kept(self, books: Mapping[str, Book]) -> tuple[Kept, ...]:
        """What is alive, by the line that made it and what holds the newest of it."""
        newest: dict[tuple[str, Frame | None], int] = {}
        sizes: Counter[tuple[str, Frame | None]] = Counter()
        recent: Counter[tuple[str, Frame | None]] = Counter()
        for memory, book in books.items():
            later = len(book.live_bytes) // 2
            for key, number in book.alive():
                num_bytes, _, stack = book.requests[number]
                place = (memory, stack[0] if stack else None)
                newest[place] = key
                sizes[place] += num_bytes
                is_recent = bisect_right(book.requests_at_marks, number) >= later
                recent[place] += num_bytes if is_recent else 0
        named = holders(set(newest.values()), self._is_under_test) if newest else {}
        kept = (
            Kept(place[0], named.get(key, ""), place[1], sizes[place], recent[place])
            for place, key in newest.items()
        )
        return tuple(sorted(kept, key=lambda each: -each.num_bytes))
