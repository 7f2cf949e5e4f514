"""What is asked of a git repository: names of commits, the middle of a range, diffs, its bisect."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oom_suite.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_LIMIT_S = 120.0
_ENDS = re.compile(r"^# (?P<term>\S+): \[(?P<commit>[0-9a-f]{40,64})\]", re.MULTILINE)
_DISTANCE = re.compile(r"^([0-9a-f]{40,64}) \(.*\bdist=\d+\)", re.MULTILINE)
# Set by git for what it runs, and by its hooks: they would lead a command to another repository.
_OF_ANOTHER = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")


@dataclass(frozen=True, slots=True)
class Ends:
    """The two commits that a search runs between.

    Attributes:
        old: the one that is as it was: the good end, unless a repair is looked for.
        new: the one that is as it became.
    """

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository, and the folder of its working tree that is spoken of.

    Attributes:
        top: the top of its working tree.
        git_dir: where git keeps what belongs to this working tree.
        prefix: the folder that is spoken of, from the top; empty for the top itself.
    """

    top: Path
    git_dir: Path
    prefix: str = ""

    @classmethod
    def at(cls, folder: str | Path) -> Repository:
        """The repository whose working tree a folder lies in.

        Raises:
            UsageError: there is none, or git is not installed.
        """
        if not Path(folder).is_dir():
            raise UsageError(f"no git repository at {str(folder)!r}: there is no such folder")
        asked = ("rev-parse", "--show-toplevel", "--absolute-git-dir", "--show-prefix")
        try:
            said = _git(asked, Path(folder))
        except GitError as error:
            raise UsageError(f"no git repository at {str(folder)!r}: {error}") from None
        top, git_dir, prefix = [*said.split("\n"), ""][:3]
        return cls(Path(top), Path(git_dir), prefix.rstrip("/"))

    def git(
        self, *words: str, more: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> str:
        """What git says to a command in this repository.

        Args:
            words: the command and its arguments.
            more: variables of its environment.
            cwd: where it runs; at the top of the working tree where not given.

        Raises:
            GitError: it fails.
        """
        return _git((f"--git-dir={self.git_dir}", *words), cwd or self.top, more)

    def commit(self, revision: str, option: str) -> str:
        """The full name of a commit.

        Args:
            revision: as git takes it: ``HEAD~6``, a branch, a tag, the first digits.
            option: the option that it was given by, for the message.

        Raises:
            UsageError: there is no such commit.
        """
        try:
            return self.git(
                "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
            ).strip()
        except GitError:
            msg = f"{option} {revision!r} is no commit of {self.top}: give one as git log shows it"
            raise UsageError(msg) from None

    def title(self, commit: str) -> str:
        """A commit's first digits and the first line of its message."""
        return self.git(
            "show", "--no-patch", "--no-show-signature", "--format=%h %s", commit
        ).strip()

    def files_of(self, commit: str) -> dict[str, str]:
        """Every file of a commit by its path from the top, each with its mode and its digest."""
        listed = self.git("ls-tree", "-r", "-z", "--full-tree", commit).split("\0")
        parted = (line.partition("\t") for line in listed if line)
        return {name: f"{facts} {name}" for facts, _, name in parted}

    def common(self, one: str, other: str) -> str:
        """The last commit that two have behind them.

        Raises:
            GitError: there is none.
        """
        return self.git("merge-base", one, other).strip()

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether one commit is the other, or lies behind it."""
        try:
            self.git("merge-base", "--is-ancestor", older, newer)
        except GitError:
            return False
        return True

    def between(self, old: Iterable[str], newest: str) -> list[str]:
        """The commits up to a newest one and behind no old one, those first that halve them best.

        Args:
            old: commits that are not meant, nor any behind them.
            newest: the last one, which is among them.
        """
        behind = [f"^{commit}" for commit in old]
        return _DISTANCE.findall(self.git("rev-list", "--bisect-all", newest, *behind))

    def in_order(self, newest: str, old: Iterable[str]) -> list[str]:
        """The same commits, each after those that it was made on."""
        behind = [f"^{commit}" for commit in old]
        return self.git("rev-list", "--topo-order", "--reverse", newest, *behind).split()

    def parents(self, commit: str) -> list[str]:
        """The commits that a commit was made on."""
        return self.git("rev-list", "--parents", "--max-count=1", commit).split()[1:]

    def diff(self, before: str, after: str, file: str) -> str:
        """How one file differs between two commits, as git shows it."""
        words = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--unified=2")
        return self.git(*words, before, after, "--", f":(top,literal){file}")

    def is_untracked(self, file: str) -> bool:
        """Whether a file lies in the working tree that git does not know there."""
        if not self.top.joinpath(file).is_file():
            return False
        return not self.git("ls-files", "--", f":(top,literal){file}")

    def bisect_ends(self) -> Ends | None:
        """The ends that a running `git bisect` was first given; None where none is running.

        Source: git 2.39 ``builtin/bisect.c`` (``bisect_write``): a line ``# TERM: [COMMIT] title``
        in ``BISECT_LOG`` for each; ``BISECT_TERMS`` has the two terms, the new one first.
        """
        try:
            log = (self.git_dir / "BISECT_LOG").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        try:
            terms = (self.git_dir / "BISECT_TERMS").read_text(encoding="utf-8").split("\n")
        except OSError:
            terms = ["bad", "good"]
        first: dict[str, str] = {}
        for match in _ENDS.finditer(log):
            first.setdefault(match["term"], match["commit"])
        new, old = first.get(terms[0]), first.get(terms[1])
        return None if new is None or old is None else Ends(old, new)


class GitError(Exception):
    """A git command failed; its text is git's own first line."""


def _git(words: Sequence[str], folder: Path, more: Mapping[str, str] | None = None) -> str:
    git = shutil.which("git")
    if git is None:
        raise GitError("git is not installed: install it")
    env = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER}
    env |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", **(more or {})}
    try:
        done = subprocess.run(
            [git, *words],
            cwd=folder,
            env=env,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise GitError(f"git {words[0]} took more than {_LIMIT_S:g} s") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit {done.returncode}"]
        raise GitError(lines[0].removeprefix("fatal: "))
    return done.stdout
