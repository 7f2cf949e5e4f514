"""Which Python, torch and suite this is, without importing torch."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

DECIDES = ("oom_suite", "commit", "dirty", "torch", "triton", "python")
"""What of `environment` and `checkout` decides laws; machines of a fleet may differ in the rest."""
_GIT_S = 10.0


def environment() -> dict[str, Any]:
    """Where the results were made: versions of Python, torch, Triton and the suite, the platform.

    A version is None when that distribution is not installed (a source tree on the path).
    """
    return {
        "python": platform.python_version(),
        "torch": _version("torch"),
        "triton": _version("triton"),
        "oom_suite": _version("oom-suite"),
        "platform": platform.platform(),
    }


def _version(distribution: str) -> str | None:
    # Not torch.__version__: a report must not pay for importing torch.
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def checkout(root: Path = Path(__file__).parents[2]) -> dict[str, Any]:
    """The commit that the suite runs from, and whether its files differ from it.

    Both are None where the suite runs from no checkout of its own (an installed wheel, a source
    archive), or where git cannot say.

    Args:
        root: the folder that holds the package. A checkout further up is somebody else's.
    """
    nowhere: dict[str, Any] = {"commit": None, "dirty": None}
    if not (root / ".git").exists():
        return nowhere
    said = _git(root, "rev-parse HEAD", "status --porcelain --untracked-files=no")
    return nowhere if said is None else {"commit": said[0], "dirty": bool(said[1])}


def working_tree(folder: Path) -> dict[str, Any]:
    """The commit of the repository that a folder lies in, when it was made, and what differs.

    All are None where it lies in none, or where git cannot say.
    """
    said = _git(folder, "log -1 --format=%H%n%cI", "status --porcelain --untracked-files=no")
    if said is None:
        return {"commit": None, "dirty": None, "committed_at": None}
    commit, _, committed_at = said[0].partition("\n")
    return {"commit": commit, "dirty": bool(said[1]), "committed_at": committed_at}


def code_state(folder: Path) -> str:
    """What tells one state of the code around a folder from another; empty where git cannot say.

    The commit of its repository, and a digest of what differs from it: changes of the files that
    git knows, and Python files that it neither knows nor ignores.
    """
    said = _git(
        folder,
        "rev-parse HEAD",
        "rev-parse --show-toplevel",
        "diff HEAD",
        "ls-files --others --exclude-standard --full-name :/*.py",
    )
    if said is None:
        return ""
    commit, top, diff, others = said
    if not diff and not others:
        return commit
    digest = hashlib.sha256(diff.encode())
    for name in others.splitlines():
        digest.update(name.encode())
        with contextlib.suppress(OSError):
            digest.update(Path(top, name).read_bytes())
    return f"{commit}, changed: {digest.hexdigest()}"


def _git(folder: Path, *asked: str) -> list[str] | None:
    """What git says to each command; None where it cannot say one."""
    git = shutil.which("git")
    if git is None:
        return None
    try:
        return [
            subprocess.run(
                [git, "-C", str(folder), *words.split()],
                capture_output=True,
                text=True,
                errors="replace",
                check=True,
                timeout=_GIT_S,
            ).stdout.strip()
            for words in asked
        ]
    except (OSError, subprocess.SubprocessError):
        return None
