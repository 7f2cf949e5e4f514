"""One commit after another in a folder of its own: the user's working tree is not touched."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from oom_suite.errors import UsageError
from oom_suite.pipeline.commits.repository import GitError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oom_suite.pipeline.commits.repository import Repository

_OURS = Path(__file__).parents[3]
"""The folder that the suite itself was imported from: it stays the one that runs."""


class Checkouts:
    """Makes commits of a repository files, one at a time, each under a name of its own.

    Nothing is left of the commit before: no file that this one does not have, no byte code, and
    no path under which a process could remember the other's modules.

    Args:
        repository: whose commits. Nothing in it is changed.
        brought: files, from the top, that are put beside each commit's where git does not know
            them in the working tree: a test that was just written and is committed nowhere.
    """

    def __init__(self, repository: Repository, brought: Sequence[str] = ()) -> None:
        self._repository = repository
        self._brought = [file for file in brought if repository.is_untracked(file)]
        self._base = Path(tempfile.mkdtemp(prefix="oom-suite-commits-")).resolve()
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._base, ignore_errors=True)

    @contextlib.contextmanager
    def at(self, commit: str) -> Iterator[Path]:
        """The top of a commit's files, with this process working in them meanwhile.

        What would be imported from the user's working tree is imported from the commit.

        Raises:
            UsageError: git cannot make its files.
        """
        top = self._made(commit)
        folder = top / self._repository.prefix
        if not folder.is_dir():
            raise UsageError(f"commit {commit[:10]} has no folder {self._repository.prefix!r}")
        with contextlib.chdir(folder), _importing_from(top, self._repository.top):
            yield top

    def _made(self, commit: str) -> Path:
        folder = self._base / commit[:12]
        if self._folder is None:
            folder.mkdir(exist_ok=True)
        elif self._folder != folder:
            self._folder.rename(folder)
        self._folder = folder
        more = {"GIT_INDEX_FILE": str(self._base / "index"), "GIT_WORK_TREE": str(folder)}
        try:
            self._repository.git("read-tree", "--reset", "-u", commit, more=more, cwd=folder)
            self._repository.git("clean", "-ffdxq", more=more, cwd=folder)
        except GitError as error:
            raise UsageError(f"commit {commit[:10]} cannot be checked out: {error}") from None
        for file in self._brought:
            if not (folder / file).exists():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self._repository.top / file, folder / file)
        return folder


@contextlib.contextmanager
def _importing_from(top: Path, instead_of: Path) -> Iterator[None]:
    """Folders of one tree on the import path stand for those of another meanwhile."""
    before = list(sys.path)
    sys.path[:] = [_moved(entry, top, instead_of) for entry in before]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before
        importlib.invalidate_caches()


def _moved(entry: str, top: Path, instead_of: Path) -> str:
    path = Path(entry).resolve() if entry else _OURS
    if path == _OURS or not path.is_relative_to(instead_of) or "site-packages" in path.parts:
        return entry
    return str(top / path.relative_to(instead_of))
