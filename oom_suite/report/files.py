"""Writes text and JSON files, whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oom_suite.errors import UsageError
from oom_suite.targets.versions import checkout, environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.records import Result
    from oom_suite.records.lock import Difference


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
