"""What is kept of a call that ran out of memory, before its tensors are let go."""

from __future__ import annotations

import dataclasses
import traceback
from typing import TYPE_CHECKING

from oom_suite.lanes.measure.out_of_memory import classified, keep_snapshot, let_go
from oom_suite.lanes.under_test import enter_code_under_test

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from oom_suite.lanes.source_lines import SourceLines
    from oom_suite.records import Frame, OutOfMemory


class FailedCall:
    """Keeps the last lack of memory that it is shown.

    Args:
        lines: names the code under test.
        snapshot_folder: where the allocator's snapshot is kept; None to keep none.

    Attributes:
        found: what was kept; None while nothing failed.
    """

    def __init__(self, lines: SourceLines, snapshot_folder: str | None = None) -> None:
        """Keep nothing yet."""
        self._lines = lines
        self._folder = snapshot_folder
        self.found: OutOfMemory | None = None

    def takes(self, error: BaseException) -> bool:
        """Whether an error was a lack of memory; if so it is kept, and what it held is let go."""
        found = classified(error, self._stack(error))
        if found is None:
            return False
        if self._folder is not None:
            found = dataclasses.replace(found, snapshot=keep_snapshot(self._folder))
        self.found = found
        let_go(error)
        return True

    def _stack(self, error: BaseException) -> tuple[Frame, ...]:
        frames = reversed(traceback.extract_tb(error.__traceback__))
        return self._lines.of_history(
            {"filename": each.filename, "line": each.lineno or 0, "name": each.name}
            for each in frames
        )


def warm_up(
    make_call: Callable[[], Callable[[], object]],
    around: Callable[..., AbstractContextManager[object]],
) -> None:
    """Run one call that nobody measures; a lack of memory shows again in the measured one.

    Args:
        make_call: builds the inputs, and gives the call.
        around: entered with ``is_measured=False``. Memory is as scarce as for the measured call:
            one that must fail there would otherwise take all of it here.

    Raises:
        Exception: what building the inputs raises; what the call raises, but for a lack of memory.
    """
    call = make_call()
    try:
        with around(is_measured=False):
            enter_code_under_test(call)
    except Exception as error:
        if classified(error, ()) is None:
            raise
        let_go(error)
