"""Loads Python files as they are now, and says in one line why one does not load."""

from __future__ import annotations

import contextlib
import linecache
import sys
import traceback
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from pathlib import Path
from typing import TYPE_CHECKING

from oom_suite.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

_INSTALLED = frozenset({"site-packages", "dist-packages"})
_OURS = Path(__file__).parents[1]


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


@contextlib.contextmanager
def fresh_imports(folder: Path) -> Iterator[None]:
    """Modules below a folder are compiled from their source meanwhile, as `FreshLoader` does it.

    What is installed below it, in a virtual environment, is imported as ever.

    Args:
        folder: where the code under test lies.
    """

    def finder(path: str) -> FileFinder:
        if not _is_below(path, folder):
            raise ImportError(f"{path} is not below {folder}", path=path)
        return FileFinder(
            path, (ExtensionFileLoader, EXTENSION_SUFFIXES), (FreshLoader, SOURCE_SUFFIXES)
        )

    sys.path_hooks.insert(0, finder)
    _forget_finders(folder)
    try:
        yield
    finally:
        sys.path_hooks.remove(finder)
        _forget_finders(folder)


def _forget_finders(folder: Path) -> None:
    for path in [each for each in sys.path_importer_cache if _is_below(each, folder)]:
        sys.path_importer_cache.pop(path, None)


def _is_below(path: str, folder: Path) -> bool:
    # Most paths lie elsewhere, and taking one apart costs more than asking this.
    if folder.name not in path:
        return False
    found = Path(path)
    if not found.is_relative_to(folder) or found.is_relative_to(_OURS):
        return False
    return not _INSTALLED.intersection(found.relative_to(folder).parts)


def refuse_modules_of(folder: Path) -> None:
    """Nothing, where no module of this process came from a folder.

    Raises:
        SubjectError: one did: it is the user's working tree, not the commit that is judged.
    """
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or not _is_below(file, folder):
            continue
        raise SubjectError(
            f"the module {name} was loaded from {file}, which is the working tree and not the "
            "commit: judge commits in place, with git bisect run oom-suite probe"
        )


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
