"""What changed in the guilty lines between two commits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from oom_suite.pipeline.commits.repository import GitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.pipeline.commits.repository import Repository
    from oom_suite.records.commits import Judged

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
MAX_LINES = 40
"""Lines of a diff that a reader is shown; git shows the rest."""


def guilty_places(judged: Judged) -> dict[str, set[int]]:
    """The guilty lines by their file: those that brought the growth, where that is known."""
    places: dict[str, set[int]] = {}
    for finding in judged.findings:
        growths = finding.difference.growths if finding.difference else ()
        brought = [frame for growth in growths for term in growth.terms for frame, _ in term.lines]
        for line in brought or finding.blame:
            places.setdefault(line.file, set()).add(line.line)
    return places


def diff_of_guilty(
    repository: Repository, before: str, after: str, guilty: Judged, *, is_after: bool
) -> tuple[str, ...]:
    """The parts of a diff that hold guilty lines; of their files' whole diff where none does."""

    def diff_of(file: str) -> str:
        path = f"{repository.prefix}/{file}" if repository.prefix else file
        try:
            return repository.diff(before, after, path)
        except GitError:
            return ""

    command = f"git diff {before[:10]} {after[:10]}"
    return guilty_parts(diff_of, guilty, command, is_after=is_after)


def guilty_parts(
    diff_of: Callable[[str], str], guilty: Judged, command: str, *, is_after: bool
) -> tuple[str, ...]:
    """The same, whatever gives the diffs.

    Args:
        diff_of: gives the diff of a file, as git shows it; empty where there is none.
        guilty: as of `diff_of_guilty`.
        command: what shows the rest of a long one.
        is_after: as of `diff_of_guilty`.
    """
    found: list[str] = []
    for file, lines in guilty_places(guilty).items():
        head, hunks = _taken_apart(diff_of(file))
        chosen = [hunk for hunk in hunks if _holds(hunk[0], lines, is_after=is_after)] or hunks
        found += [*head, *(line for hunk in chosen for line in hunk)] if chosen else []
    if len(found) > MAX_LINES:
        left = len(found) - MAX_LINES
        return (*found[:MAX_LINES], f"and {left} more: {command}")
    return tuple(found)


def _taken_apart(text: str) -> tuple[list[str], list[list[str]]]:
    """The two lines that name the file, and the hunks."""
    head: list[str] = []
    hunks: list[list[str]] = []
    for line in text.splitlines():
        if _HUNK.match(line):
            hunks.append([line])
        elif hunks:
            hunks[-1].append(line)
        elif line.startswith(("--- ", "+++ ")):
            head.append(line)
    return head, hunks


def _holds(header: str, lines: set[int], *, is_after: bool) -> bool:
    match = _HUNK.match(header)
    assert match is not None
    start, length = (match[3], match[4]) if is_after else (match[1], match[2])
    first = int(start)
    return any(first <= line < first + int(length or 1) for line in lines)
