"""Which lines of the code under test are on the stack, and where the harness ends."""

from __future__ import annotations

import contextlib
import dis
import gc
import sys
import sysconfig
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from oom_suite.records import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import CodeType, FrameType
    from typing import Any


_SITE_PACKAGES = "site-packages"
_LIBRARIES = (str(Path(torch.__file__).parent) + "/", f"/{_SITE_PACKAGES}/triton/")
_SUITE = Path(__file__).parent.parent
_UNDER_TEST = (
    f"{_SUITE}/workloads/sparse_mla/builtins/",
    f"{_SUITE}/workloads/sparse_mla/kernels/",
    f"{_SUITE}/selfcheck/faults/",
)
"""The folders of the suite that hold code under test; the rest is harness."""
_STDLIB = sysconfig.get_path("stdlib") + "/"


_given = threading.local()


def give(stack: tuple[Frame, ...]) -> None:
    """Say at which lines this thread was given what it does from now on, if it has none yet."""
    if not getattr(_given, "is_set", False):
        _given.stack = stack


@contextlib.contextmanager
def given_at(stack: tuple[Frame, ...]) -> Iterator[None]:
    """While active, this thread does what was given to it at these lines of another thread."""
    before = vars(_given).copy()
    vars(_given).update(stack=stack, is_set=True)
    try:
        yield
    finally:
        vars(_given).clear()
        vars(_given).update(before)


class FileNames:
    """Shows file names, each looked up once.

    Args:
        root: folder that file names are shown relative to where they lie under it.
    """

    def __init__(self, root: Path) -> None:
        self._roots = [f"{root.resolve()}/"]
        # The current folder may have been removed.
        with contextlib.suppress(FileNotFoundError):
            self._roots.append(f"{Path.cwd()}/")
        self._names: dict[str, str | None] = {}

    def shown(self, filename: str) -> str | None:
        """The name to show; None for a file that is no code under test."""
        if filename not in self._names:
            self._names[filename] = self._shown(filename)
        return self._names[filename]

    def _shown(self, filename: str) -> str | None:
        if filename.startswith("<") or any(part in filename for part in _LIBRARIES):
            return None
        if filename.startswith(f"{_SUITE}/") and not filename.startswith(_UNDER_TEST):
            return None
        if filename.startswith(_STDLIB) and _SITE_PACKAGES not in filename:
            return None
        resolved = str(Path(filename).resolve())
        for root in self._roots:
            if resolved.startswith(root):
                return resolved[len(root) :]
        head, found, tail = resolved.rpartition(f"/{_SITE_PACKAGES}/")
        return tail if found and head else resolved


_UNREAD = Frame("", 0, "")


_STORE_ELEMENT = dis.opmap["STORE_SUBSCR"]
_SUBSCRIPTS = {_STORE_ELEMENT, dis.opmap.get("BINARY_SUBSCR", _STORE_ELEMENT)}
_MODULES = "/torch/nn/"


class SourceLines:
    """Reads stacks as tuples of `Frame`, innermost first, from the call under test inwards.

    Args:
        root: folder that file names are shown relative to where they lie under it.
        anchor: the code object whose frame ends the walk: the lane's own calling function.

    Attributes:
        files: tells files of code under test from others.
    """

    def __init__(self, root: Path, anchor: CodeType) -> None:
        """Prepare the caches: a run asks for the same few lines again and again."""
        self.files = FileNames(root)
        self._anchor = anchor
        self._frames: dict[tuple[int, int], Frame | None] = {}
        self._codes: list[CodeType] = []

    def stack(self, frame: FrameType | None = None) -> tuple[Frame, ...]:
        """The lines on the stack now, or on another thread's.

        A thread that runs nothing but what it was given, such as a tensor's own method, has the
        lines that gave it.

        Args:
            frame: where to begin; None for the caller's own.
        """
        frames: list[Frame] = []
        known, anchor = self._frames, self._anchor
        frame = frame or sys._getframe(1)
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
        return tuple(frames) or getattr(_given, "stack", ())

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
            name = self.files.shown(filename)
            if name is not None:
                shown.append(Frame(name, frame["line"], function))
        return tuple(shown)

    def here(self) -> str:
        """The line of the code under test that runs now, as `` at file:line (function)``."""
        frames = self.stack()
        return f" at {frames[0]}" if frames else ""

    def assigns_element(self) -> bool:
        """Whether the code under test is executing ``tensor[index] = value`` right now."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code is not self._anchor:
            if self.files.shown(frame.f_code.co_filename) is not None:
                return frame.f_code.co_code[frame.f_lasti] == _STORE_ELEMENT
            frame = frame.f_back
        return False

    def subscript(self) -> tuple[int, int] | None:
        """The instruction that runs now, where it takes or sets an element: ``tensor[index]``.

        None where anything else does, or where a class of torch's own handles the subscript.
        """
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code is not self._anchor:
            code = frame.f_code
            if self.files.shown(code.co_filename) is not None:
                opcode = code.co_code[frame.f_lasti]
                return (id(code), frame.f_lasti) if opcode in _SUBSCRIPTS else None
            if _MODULES in code.co_filename:
                return None
            frame = frame.f_back
        return None

    def _read(self, code: CodeType, line: int) -> Frame | None:
        # Kept alive: an id is a name only as long as its object lives.
        self._codes.append(code)
        name = self.files.shown(code.co_filename)
        return None if name is None else Frame(name, line, code.co_name)


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
