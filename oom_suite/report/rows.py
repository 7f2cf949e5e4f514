"""What a failure is made of: labelled rows of printable lines."""

from __future__ import annotations

import re
from dataclasses import dataclass

_OUT_OF_MEMORY = "out of memory. "
_NEXT_SENTENCE = re.compile(r"(?<=\.)\s+(?=[A-Z])")
_WHERE = re.compile(r" at [^()]+:\d+ \([^()]*\)$")
_ALLOWED = re.compile(r"(?<=\. )\d[\d.]* \w+ allowed(?=;)")
# "CUDA out of memory." says nothing alone: what was asked for and what was free follow it.
_NUM_SENTENCES = 3


RUNNER_COMMAND = "##["
"""Source: actions/runner ``src/Runner.Common/ActionCommand.cs``."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a failure.

    Attributes:
        text: printable characters only.
        guilty: whether it names what broke the contract.
        hang: characters that a terminal indents by where it has to break the line.
    """

    text: str
    guilty: bool = False
    hang: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A label and the lines beside it."""

    label: str
    lines: tuple[Line, ...]


def printable(text: str) -> str:
    """The text on one line, control characters replaced: paths and messages come from outside.

    Neither has it what GitHub's runner takes for a command anywhere in a line.
    """
    line = "".join(char if char.isprintable() else " " for char in text)
    return line.replace(RUNNER_COMMAND, "## [")


def brief(text: str) -> str:
    """The text as `printable` gives it, without the tail of torch's out-of-memory message.

    What was asked for, what was free, what the process was allowed where it had a limit, and
    the line that asked stay. The tail, which lists every process on the device and gives
    advice, is a paragraph; JSON has it whole.

    Source: the message of torch 2.11's ``c10/cuda/CUDACachingAllocator.cpp`` on an H200, with
    and without a limit.
    """
    whole = printable(text)
    if _OUT_OF_MEMORY not in whole:
        return whole
    found = _WHERE.search(whole)
    where = "" if found is None else found[0]
    sentences = _NEXT_SENTENCE.split(whole.removesuffix(where))
    if len(sentences) <= _NUM_SENTENCES:
        return whole
    kept = " ".join(sentences[:_NUM_SENTENCES]).rstrip(".")
    # Much is free and yet refused under a limit: without it the rest would mislead.
    limit = _ALLOWED.search(whole)
    allowed = "" if limit is None else f" {limit[0]} ..."
    return f"{kept} ...{allowed}{where}"
