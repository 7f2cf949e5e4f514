"""What a machine can measure, for a person: one line for each thing, and what to do about it."""

from __future__ import annotations

import enum
import textwrap
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from oom_suite.report.rows import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

_NAME_WIDTH = 18
_STATE_WIDTH = 8
_INDENT = 2
_NARROWEST = 30
_PIPED_WIDTH = 80
_WIDEST = 110


class State(enum.Enum):
    """Whether a thing is there."""

    YES = "yes"
    NO = "no"
    BROKEN = "BROKEN"
    NOTE = ""


_STYLES = {State.YES: "green", State.NO: "yellow", State.BROKEN: "bold red", State.NOTE: ""}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        name: what it is, for example ``nvml``.
        state: whether it is there.
        says: its live figure, or why it is not there; one clause.
        todo: what to install or set for it, in one clause; empty where there is nothing to do.
    """

    name: str
    state: State
    says: str
    todo: str = ""

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return {**asdict(self), "state": self.state.name.lower()}


@dataclass(frozen=True, slots=True)
class Section:
    """Findings of one kind, in the order to show them."""

    title: str
    findings: tuple[Finding, ...]


def broken(sections: Sequence[Section]) -> list[Finding]:
    """What should work on this machine and does not."""
    return [one for s in sections for one in s.findings if one.state is State.BROKEN]


def closing_line(sections: Sequence[Section]) -> str:
    """Whether something is broken, and what."""
    found = broken(sections)
    if not found:
        return "nothing is broken"
    return f"broken: {', '.join(one.name for one in found)}"


def finding_lines(finding: Finding, width: int) -> Iterator[str]:
    """A finding's lines, none wider than `width` unless a single word is."""
    margin = " " * (_INDENT + _NAME_WIDTH + _STATE_WIDTH)
    room = max(_NARROWEST, width - len(margin))
    head = " " * _INDENT + f"{printable(finding.name):<{_NAME_WIDTH}}"
    head = f"{head}{finding.state.value:<{_STATE_WIDTH}}"
    lines = _wrapped(printable(finding.says), room)
    yield f"{head}{lines[0]}".rstrip()
    for line in lines[1:]:
        yield f"{margin}{line}"
    if finding.todo:
        for index, line in enumerate(_wrapped(printable(finding.todo), room - 3)):
            yield f"{margin}{'-> ' if index == 0 else '   '}{line}"


def _wrapped(text: str, room: int) -> list[str]:
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]


def render(sections: Sequence[Section], console: Console) -> None:
    """Print every section, then whether something is broken.

    Args:
        sections: in the order to show them.
        console: where to; 80 columns when piped, its own width at a terminal.
    """
    width = min(console.width, _WIDEST) if console.is_terminal else _PIPED_WIDTH
    for section in sections:
        console.print(Text(section.title, style="bold"), highlight=False)
        for finding in section.findings:
            for line in finding_lines(finding, width):
                console.print(_styled(line, finding), soft_wrap=True, highlight=False)
        console.print()
    style = _STYLES[State.BROKEN] if broken(sections) else ""
    console.print(Text(closing_line(sections), style=style), soft_wrap=True, highlight=False)


def _styled(line: str, finding: Finding) -> Text:
    text = Text(line)
    start = _INDENT + _NAME_WIDTH
    if finding.state.value and line[start:].startswith(finding.state.value):
        text.stylize(_STYLES[finding.state], start, start + len(finding.state.value))
    return text
