"""Finds the lines of the code under test that are on the stack, leaving torch's own out."""

from __future__ import annotations

import dis
import sys
from typing import TYPE_CHECKING

from oom_suite.lanes.file_names import FileNames
from oom_suite.records import Frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from types import CodeType, FrameType
    from typing import Any

_UNREAD = Frame("", 0, "")


_STORE_ELEMENT = dis.opmap["STORE_SUBSCR"]


class SourceLines:
    """Reads stacks as tuples of `Frame`, innermost first, from the call under test inwards.

    Args:
        root: folder that file names are shown relative to where they lie under it.
        anchor: the code object whose frame ends the walk: the lane's own calling function.
    """

    def __init__(self, root: Path, anchor: CodeType) -> None:
        """Prepare the caches: a run asks for the same few lines again and again."""
        self._files = FileNames(root)
        self._anchor = anchor
        self._frames: dict[tuple[int, int], Frame | None] = {}
        self._codes: list[CodeType] = []

    def stack(self) -> tuple[Frame, ...]:
        """The lines on the stack now."""
        frames: list[Frame] = []
        known, anchor = self._frames, self._anchor
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - inspect.stack is 100x slower
        while frame is not None:
            code = frame.f_code
            if code is anchor:
                break
            # By identity: a code object's hash walks all its constants.
            key = (id(code), frame.f_lineno)
            shown = known.get(key, _UNREAD)
            if shown is _UNREAD:
                shown = known[key] = self._read(code, frame.f_lineno)
            if shown is not None:
                frames.append(shown)
            frame = frame.f_back
        return tuple(frames)

    def of_history(self, frames: Iterable[Mapping[str, Any]]) -> tuple[Frame, ...]:
        """The lines of a stack that torch recorded, by the same rules as `stack`.

        Args:
            frames: innermost first, each with ``filename``, ``line`` and ``name``.

        Source: PyTorch 2.13 ``torch/csrc/profiler/python/combined_traceback.cpp``; 2.11 is alike.
        """
        shown: list[Frame] = []
        for frame in frames:
            filename, function = frame["filename"], frame["name"]
            if function == self._anchor.co_name and filename == self._anchor.co_filename:
                break
            name = self._files.shown(filename)
            if name is not None:
                shown.append(Frame(name, frame["line"], function))
        return tuple(shown)

    def here(self) -> str:
        """The line of the code under test that runs now, as `` at file:line (function)``."""
        frames = self.stack()
        return f" at {frames[0]}" if frames else ""

    def assigns_element(self) -> bool:
        """Whether the code under test is executing ``tensor[index] = value`` right now."""
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - inspect.stack is 100x slower
        while frame is not None and frame.f_code is not self._anchor:
            if self._files.shown(frame.f_code.co_filename) is not None:
                return frame.f_code.co_code[frame.f_lasti] == _STORE_ELEMENT
            frame = frame.f_back
        return False

    def _read(self, code: CodeType, line: int) -> Frame | None:
        # Kept alive: an id is a name only as long as its object lives.
        self._codes.append(code)
        name = self._files.shown(code.co_filename)
        return None if name is None else Frame(name, line, code.co_name)
