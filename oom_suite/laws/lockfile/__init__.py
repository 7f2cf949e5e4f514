"""The laws that a repository has promised: read, written, compared."""

from __future__ import annotations

from pathlib import Path

from oom_suite.laws.lockfile.compare import compare
from oom_suite.laws.lockfile.toml_file import FORMAT, dumps, loads, merged, read

DEFAULT_FILE = "oom-laws.toml"
"""Where a repository keeps its laws, unless it says otherwise."""


def only_arch(path: str | Path) -> str:
    """The architecture of every law in a lockfile; empty without the file, or where they differ.

    Whoever names no target means the one that the file is for.

    Raises:
        UsageError: the file cannot be read.
    """
    archs = {arch for _, _, arch in read(path)} if Path(path).exists() else set()
    return archs.pop() if len(archs) == 1 else ""


__all__ = ["DEFAULT_FILE", "FORMAT", "compare", "dumps", "loads", "merged", "only_arch", "read"]
