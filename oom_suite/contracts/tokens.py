"""The words of an expression, with every amount of bytes replaced by its number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.errors import UsageError
from oom_suite.units import parse_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

MAX_CHARACTERS = 20_000
"""Longer text is refused: a law of a hundred long terms has some 6,000 characters."""

EXAMPLE = "4*num_tokens*topk*1KiB + 64MiB"

_MAX_SHOWN = 80

_UNIT = re.compile(r"[KMGTPkmgtp]?i?[Bb]")
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<number>(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+(?![A-Za-z]))?)
    | (?P<name>[^\W\d]\w*)
    | (?P<operator>\*\*|[-+*/()])
    | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One word of an expression: a number of bytes or a count, an axis, or an operator."""

    kind: str
    text: str


def shown(text: str) -> str:
    """The text in quotes, on one line and cut where it is long."""
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")


def tokens(text: str, what: str, axes: Collection[str]) -> list[Token]:
    """The words of the text; ``64 MiB`` is one, the number 67108864.

    Args:
        text: the expression.
        what: what it is, for messages: ``"bound"``.
        axes: names that are sizes; one that could be a unit is an axis where it stands alone.

    Raises:
        UsageError: a character that no expression has, a unit that is none of ours (``GB``),
            or no text at all.
    """
    if not text.strip():
        msg = f"the {what} is empty: write sums and products such as {EXAMPLE}"
        raise UsageError(msg)
    if len(text) > MAX_CHARACTERS:
        msg = f"the {what} has {len(text):,} characters: at most {MAX_CHARACTERS:,} are read"
        raise UsageError(msg)
    return list(_with_amounts(list(_words(text, what)), text, what, axes))


def _words(text: str, what: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(text):
        kind, word = str(match.lastgroup), match[0]
        if kind == "other":
            seen = "text in quotes" if word in "\"'" else repr(word)
            msg = f"{what} {shown(text)} has {seen}: write sums and products such as {EXAMPLE}"
            raise UsageError(msg)
        yield Token(kind, word)


def _with_amounts(
    words: list[Token], text: str, what: str, axes: Collection[str]
) -> Iterator[Token]:
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        if word.kind == "space":
            continue
        if word.kind != "number":
            yield word
            continue
        spaced = place < len(words) and words[place].kind == "space"
        after = words[place + spaced] if place + spaced < len(words) else Token("end", "")
        is_unit = after.kind == "name" and after.text not in axes
        if is_unit and (not spaced or _UNIT.fullmatch(after.text)):
            place += 1 + spaced
            yield Token("number", str(_amount(word.text + after.text, text, what)))
        else:
            yield word


def _amount(amount: str, text: str, what: str) -> int:
    try:
        return parse_bytes(amount.replace("_", ""))
    except UsageError as error:
        msg = f"{what} {shown(text)}: {error}"
        raise UsageError(msg) from None
