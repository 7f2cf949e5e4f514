"""What a failure is made of: labelled rows of printable lines."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a failure.

    Attributes:
        text: printable characters only.
        guilty: whether it names what broke the contract.
    """

    text: str
    guilty: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A label and the lines beside it."""

    label: str
    lines: tuple[Line, ...]


def printable(text: str) -> str:
    """The text on one line, control characters replaced: paths and messages come from outside."""
    return "".join(char if char.isprintable() else " " for char in text)
