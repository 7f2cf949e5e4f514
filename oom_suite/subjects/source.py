"""Loads Python files as they are now, and says in one line why one does not load."""

from __future__ import annotations

import linecache
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING

from oom_suite.errors import SubjectError

if TYPE_CHECKING:
    from types import CodeType


class FreshLoader(SourceFileLoader):
    """Compiles a file at each load, and leaves no byte code beside it.

    A file that two commits give the same size and time would otherwise be run from the first
    one's byte code, and a folder under test would be written to.
    """

    def get_code(self, fullname: str) -> CodeType:
        """The file's code, with its real path as its name."""
        path = self.get_filename(fullname)
        linecache.checkcache(path)
        return self.source_to_code(self.get_data(path), path)


def import_failure(error: BaseException, name: str, folder: Path) -> SubjectError:
    """The one-line error for a subject whose import raised.

    Args:
        error: what it raised.
        name: what the user calls the subject.
        folder: where its own files lie; the line named is the innermost one there.
    """
    message = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    what = type(error).__name__ + (f": {message}" if message else "")
    where = _where(error, folder)
    remedy = "correct it and run again"
    if isinstance(error, ImportError):
        package = (error.name or "PACKAGE").partition(".")[0]
        remedy = f"install it in this Python, or have it replaced by stubs (--stub {package})"
    at = f" at {where}" if where else ""
    return SubjectError(f"{name} cannot be loaded: {what}{at}; {remedy}")


def shown(path: str | Path) -> str:
    """The path as a reader in the current folder would write it."""
    whole = Path(path).absolute()
    return str(whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole)


def _where(error: BaseException, folder: Path) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{shown(error.filename)}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
        and not Path(frame.filename).is_relative_to(Path(__file__).parent)
    ]
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    nearest = (own or frames)[-1:]
    return f"{shown(nearest[0].filename)}:{nearest[0].lineno}" if nearest else ""
