"""Tables where there is no room for them: names whole on lines of their own, figures below."""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console
    from rich.table import Table

    Cell = Sequence[Text]

_INDENT = 2
_GAP = 1


def width_of(console: Console, piped: int) -> int:
    """How wide a table may be.

    Args:
        console: where to; a terminal's width is kept to, and so is the variable ``COLUMNS``.
        piped: characters where nobody says how wide a line may be.
    """
    if console.is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return console.width
    return max(console.width, piped)


def captured(table: Table, console: Console, width: int) -> list[str]:
    """The lines of a table that is as wide as this, though the console is not."""
    before, console.width = console.width, width
    try:
        with console.capture() as capture:
            console.print(table)
    finally:
        console.width = before
    return [line.rstrip() for line in capture.get().splitlines()]


def words(text: str, width: int) -> list[str]:
    """The text in lines that break between words; a word that is wider stays whole."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def stacked(
    header: Sequence[str], rows: Sequence[tuple[Cell, Sequence[Cell]]], width: int, right: set[int]
) -> Iterator[Text]:
    """The lines of a table whose rows have their name above them.

    Where even the other columns have no room beside each other, each has a line of its own.

    Args:
        header: of the columns after the name.
        rows: a name and its cells, each as lines.
        width: characters of a line.
        right: the numbers of the columns that are justified right.
    """
    widths = [
        max(len(title), *(line.cell_len for _, cells in rows for line in cells[number]))
        for number, title in enumerate(header)
    ]
    if _INDENT + sum(widths) + _GAP * (len(widths) - 1) > width:
        yield from _records(header, rows)
        return

    def row(lines: Sequence[Text]) -> Text:
        whole = Text(" " * (_INDENT - _GAP))
        for number, line in enumerate(lines):
            room = " " * (widths[number] - line.cell_len)
            parts = (room, line) if number in right else (line, room)
            whole += Text.assemble(" " * _GAP, *parts)
        whole.rstrip()
        return whole

    yield row([Text(title, style="bold") for title in header])
    yield Text("─" * (_INDENT + sum(widths) + _GAP * (len(widths) - 1)))
    for name, cells in rows:
        yield from name
        height = max(len(cell) for cell in cells)
        for index in range(height):
            yield row([cell[index] if index < len(cell) else Text() for cell in cells])


def _records(header: Sequence[str], rows: Sequence[tuple[Cell, Sequence[Cell]]]) -> Iterator[Text]:
    titles = [title.partition(" ")[0] for title in header]
    room = max(len(title) for title in titles) + _INDENT
    for name, cells in rows:
        yield from name
        for title, cell in zip(titles, cells, strict=True):
            for index, line in enumerate(cell):
                label = title if index == 0 else ""
                yield Text.assemble(" " * _INDENT, f"{label:<{room}}", line)
