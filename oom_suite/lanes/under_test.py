"""Where the harness ends and the code under test begins."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

from oom_suite.lanes.source_lines import SourceLines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """Keeps the garbage collector out of a call.

    A collection in the middle would free cyclic garbage at a moment that differs from run to
    run; reference counts alone are deterministic. What the builder left in cycles is young, and
    not an input.
    """
    gc.collect(0)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def lines_under_test(root: Path) -> SourceLines:
    """Reads stacks up to where `enter_code_under_test` calls the code under test.

    Args:
        root: folder that source files are shown relative to.
    """
    return SourceLines(root, enter_code_under_test.__code__)


def enter_code_under_test(call: Callable[[], object]) -> None:
    """The frame at which stacks end: everything further in is the code under test."""
    call()
