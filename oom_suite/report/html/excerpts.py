"""The blamed source lines with the lines around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.report.breaches import held_text
from oom_suite.report.rows import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from oom_suite.records import Blame, Result

Sources = Mapping[tuple[str, str], Sequence[str]]
"""The lines of each blamed file, by subject and file: two releases have one path in common."""

NUM_LINES_AROUND = 3
_MAX_SOURCE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of an excerpt.

    Attributes:
        number: from 1.
        text: as it stands in the file; empty when the file was not given.
        holds: what it holds at the peak, one clause for each forbidden axis; empty when it is
            there for its neighbours' sake.
    """

    number: int
    text: str
    holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Blamed lines of one function that stand close together.

    Attributes:
        where: file, first blamed line and function.
        lines: in the file's order.
        is_source: whether their text is known.
    """

    where: str
    lines: tuple[SourceLine, ...]
    is_source: bool


def read_sources(
    results: Iterable[Result], folders: Callable[[str], Iterable[Path]]
) -> dict[tuple[str, str], tuple[str, ...]]:
    """The lines of every blamed file that can be found.

    Args:
        results: whose blame is to be shown.
        folders: for a subject, the folders that its paths may be relative to.
    """
    found = {}
    for result in results:
        names = {blame.file for blame in result.blame}
        roots = tuple(folders(result.subject)) if names else ()
        for name in names:
            lines = next((text for root in roots if (text := _read(root, name))), ())
            if lines:
                found[result.subject, name] = lines
    return found


def _read(root: Path, name: str) -> tuple[str, ...]:
    """The file's lines; none where it is not there, or the name leads out of its folder."""
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root.resolve()) or not path.is_file():
            return ()
        if path.stat().st_size > _MAX_SOURCE_BYTES:
            return ()
        return tuple(path.read_text(encoding="utf-8", errors="replace").splitlines())
    except (OSError, ValueError):
        return ()


def excerpts(result: Result, sources: Sources) -> tuple[Excerpt, ...]:
    """The result's blamed lines, the largest holder first, neighbours shown together."""
    groups: list[list[Blame]] = []
    for blame in result.blame:
        near = next((group for group in groups if _is_near(blame, group)), None)
        if near is None:
            groups.append([blame])
        else:
            near.append(blame)
    return tuple(
        _excerpt(result, group, sources.get((result.subject, group[0].file))) for group in groups
    )


def _is_near(blame: Blame, group: list[Blame]) -> bool:
    return any(
        (blame.file, blame.function) == (other.file, other.function)
        and abs(blame.line - other.line) <= 4 * NUM_LINES_AROUND
        for other in group
    )


def _excerpt(result: Result, group: list[Blame], source: Sequence[str] | None) -> Excerpt:
    first = group[0]
    holds: dict[int, list[str]] = {}
    for blame in group:
        holds.setdefault(blame.line, []).append(held_text(result, blame))
    is_source = source is not None and all(1 <= line <= len(source) for line in holds)
    numbers: Iterable[int] = sorted(holds)
    if source is not None and is_source:
        low = max(1, min(holds) - NUM_LINES_AROUND)
        numbers = range(low, min(len(source), max(holds) + NUM_LINES_AROUND) + 1)
    lines = tuple(
        SourceLine(
            number,
            printable(source[number - 1].expandtabs(4)) if source is not None and is_source else "",
            tuple(holds.get(number, ())),
        )
        for number in numbers
    )
    where = printable(f"{first.file}:{first.line} ({first.function})")
    return Excerpt(where, lines, is_source)
