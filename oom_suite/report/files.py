"""Writes text and JSON files, whole or not at all."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oom_suite.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.records import Result
    from oom_suite.records.lock import Difference


_GIT_S = 10.0


def write_text(text: str, path: str | Path) -> None:
    """Write a text file, whole or not at all.

    Args:
        text: what it holds.
        path: the file; an existing one is replaced. A device or a pipe is written to directly.

    Raises:
        UsageError: the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_text(text, encoding="utf-8")
        else:
            _replace(target, text)
    except OSError as error:
        why = error.strerror or str(error)
        msg = f"cannot write {str(path)!r}: {why}; give a file in a folder that can be written"
        raise UsageError(msg) from error


def _replace(target: Path, text: str) -> None:
    if target.is_dir():
        raise IsADirectoryError(None, "it is a folder")
    scratch = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


def environment() -> dict[str, Any]:
    """Where the results were made: versions of Python, torch and the suite, and the platform.

    A version is None when that distribution is not installed (a source tree on the path).
    """
    return {
        "python": platform.python_version(),
        "torch": _version("torch"),
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
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return nowhere
    asked = ("rev-parse HEAD", "status --porcelain --untracked-files=no")
    try:
        commit, changes = (
            subprocess.run(
                [git, "-C", str(root), *words.split()],
                capture_output=True,
                text=True,
                check=True,
                timeout=_GIT_S,
            ).stdout.strip()
            for words in asked
        )
    except (OSError, subprocess.SubprocessError):
        return nowhere
    return {"commit": commit, "dirty": bool(changes)}


def write(
    results: Sequence[Result],
    path: str | Path,
    differences: Sequence[Difference] | None = None,
) -> None:
    """Write ``{"results": [...], "environment": {...}}`` to a file, whole or not at all.

    Args:
        results: each is written by `Result.to_json`.
        path: the file; an existing one is replaced. A device or a pipe is written to directly.
        differences: from a lockfile, written under ``"locked"`` by `Difference.to_json`; None
            where nothing was compared, and there is no such key then.

    Raises:
        UsageError: the file cannot be written.
    """
    body: dict[str, Any] = {"results": [result.to_json() for result in results]}
    if differences is not None:
        body["locked"] = [difference.to_json() for difference in differences]
    write_body(body, path)


def write_body(body: Mapping[str, Any], path: str | Path, row_key: str = "") -> None:
    """Write JSON values and where they were made to a file, whole or not at all.

    Args:
        body: the values.
        path: the file; an existing one is replaced.
        row_key: the key of a list whose items take one line each; empty for none.

    Raises:
        UsageError: the file cannot be written.
    """
    whole = {**body, "environment": {**environment(), **checkout()}}
    if not row_key:
        write_text(json.dumps(whole, indent=2) + "\n", path)
        return
    lines = ",\n".join(f"    {json.dumps(row)}" for row in whole[row_key])
    text = json.dumps({**whole, row_key: []}, indent=2)
    filled = text.replace(f'"{row_key}": []', f'"{row_key}": [\n{lines}\n  ]', 1)
    write_text(filled + "\n", path)
