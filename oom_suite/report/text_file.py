"""Text files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from oom_suite.errors import UsageError


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
