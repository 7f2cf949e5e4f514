"""Writes text and JSON files, whole or not at all; refuses those that cannot be written."""

from __future__ import annotations

import contextlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oom_suite.errors import UsageError
from oom_suite.report.rows import RUNNER_COMMAND
from oom_suite.targets.versions import checkout, environment, working_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from oom_suite.records import Result
    from oom_suite.records.lock import Difference

STDOUT = Path("-")
"""Stands for standard output where a file is asked for."""
_STDOUT_DESCRIPTOR = 1


def refuse_unwritable(path: str | Path) -> None:
    """Nothing, where `write_text` could write this file now; nothing is left there.

    Raises:
        UsageError: it could not.
    """
    if Path(path) == STDOUT:
        return
    target = Path(os.path.realpath(path))
    try:
        if _is_special(target):
            if not os.access(target, os.W_OK):
                raise PermissionError(None, "it cannot be written to")
            return
        if not target.parent.is_dir():
            raise NotADirectoryError(None, f"there is no folder {str(target.parent)!r}")
        with _scratch(target) as scratch:
            scratch.touch()
    except OSError as error:
        raise _unwritable(path, error) from error


def write_text(text: str, path: str | Path) -> None:
    """Write a text file, whole or not at all.

    Args:
        text: what it holds.
        path: the file; an existing one is replaced. A device or a pipe is written to directly,
            and `STDOUT` to standard output.

    Raises:
        UsageError: the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        if Path(path) == STDOUT:
            # Past `sys.stdout`: what people read may have been sent elsewhere.
            with open(_STDOUT_DESCRIPTOR, "w", encoding="utf-8", closefd=False) as stream:
                stream.write(text)
        elif _is_special(target):
            target.write_text(text, encoding="utf-8")
        else:
            with _scratch(target) as scratch:
                scratch.write_text(text, encoding="utf-8")
                scratch.replace(target)
    except OSError as error:
        raise _unwritable(path, error) from error


def is_replaced(path: Path) -> bool:
    """Whether writing replaces the file, so that it can be done again and again."""
    return path != STDOUT and not _is_special(Path(os.path.realpath(path)))


def _is_special(target: Path) -> bool:
    return target.exists() and not target.is_file() and not target.is_dir()


@contextlib.contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A file beside another, to replace it with; gone afterwards."""
    if target.is_dir():
        raise IsADirectoryError(None, "it is a folder")
    scratch = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield scratch
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)


def _unwritable(path: str | Path, error: OSError) -> UsageError:
    why = error.strerror or str(error)
    return UsageError(
        f"cannot write {str(path)!r}: {why}; give a file in a folder that can be written"
    )


def write(
    results: Sequence[Result],
    path: str | Path,
    differences: Sequence[Difference] | None = None,
) -> None:
    """Write ``{"results": [...], "environment": {...}}`` to a file, whole or not at all.

    Args:
        results: each is written by `Result.to_json`.
        path: as of `write_text`.
        differences: from a lockfile, written under ``"locked"`` by `Difference.to_json`; None
            where nothing was compared, and there is no such key then.

    Raises:
        UsageError: the file cannot be written.
    """
    write_body(results_body(results, differences), path)


def results_body(
    results: Sequence[Result], differences: Sequence[Difference] | None = None
) -> dict[str, Any]:
    """The values that `write` writes."""
    body: dict[str, Any] = {"results": [result.to_json() for result in results]}
    if differences is not None:
        body["locked"] = [difference.to_json() for difference in differences]
    return body


def where_made() -> Mapping[str, Any]:
    """What files name under ``"environment"``: the versions, the suite's commit, when, and where.

    The repository that the command runs in, ``"working_tree"``, has the code under test, where
    that is no release.
    """
    made_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    here = working_tree(Path.cwd())
    return {**environment(), **checkout(), "made_at": made_at, "working_tree": here}


def write_body(
    body: Mapping[str, Any],
    path: str | Path,
    row_key: str = "",
    made: Mapping[str, Any] | None = None,
) -> None:
    """Write JSON values and where they were made to a file, whole or not at all.

    Args:
        body: the values.
        path: as of `write_text`.
        row_key: the key of a list whose items take one line each; empty for none.
        made: as of `where_made`, for whoever writes again and again.

    Raises:
        UsageError: the file cannot be written.
    """
    whole = {**body, "environment": {**(where_made() if made is None else made)}}
    if not row_key:
        write_text(_inert(json.dumps(whole, indent=2)) + "\n", path)
        return
    lines = ",\n".join(f"    {json.dumps(row)}" for row in whole[row_key])
    text = json.dumps({**whole, row_key: []}, indent=2)
    filled = text.replace(f'"{row_key}": []', f'"{row_key}": [\n{lines}\n  ]', 1)
    write_text(_inert(filled) + "\n", path)


def _inert(text: str) -> str:
    """JSON of the same values, whose strings no runner takes for a command where it is logged."""
    return text.replace(RUNNER_COMMAND, "#\\u0023[")
