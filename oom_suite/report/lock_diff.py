"""How a law differs from the one that was locked, in words and as a diff."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from oom_suite.records.lock import Change
from oom_suite.report.rows import printable
from oom_suite.report.screen import print_line
from oom_suite.report.wording import law_lines, unit_of
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from oom_suite.records.lock import Difference, GrownTerm, Growth

_FORMULA_WIDTH = 80
_MAX_LINES = 3
_VERDICTS = {
    Change.SAME: "PASS",
    Change.SHRANK: "PASS",
    Change.GREW: "FAIL",
    Change.UNDECIDED: "INCONCLUSIVE",
    Change.MISSING: "INCONCLUSIVE",
}


def difference_lines(difference: Difference) -> tuple[str, ...]:
    """What a reader needs to act on one difference: a headline, and for growth the diff.

    A growth shows the locked formula and the one of now, the larger terms marked ``>``, the
    lines that hold them, and where the law exceeds what was locked.
    """
    verdict = _VERDICTS[difference.change]
    subject, workload, _ = difference.key
    start = f"{verdict}  {printable(subject)}: workload {workload}, "
    file, command = printable(difference.file), printable(difference.lock_command)
    if difference.change is Change.SAME:
        return (f"{start}as locked in {file}",)
    if difference.change is Change.MISSING:
        return (f"{start}no law in {file}: run {command}",)
    lines = [f"{start}{printable(difference.reason)}"]
    if difference.change is Change.SHRANK:
        return (f"{lines[0]}; to promise the new law run {command}",)
    for growth in difference.growths[:1]:
        lines.extend(f"  {line}".rstrip() for line in _growth_lines(growth))
    others = len(difference.growths) - 1
    if others > 0:
        lines.append(f"  also     {others} more {_plural('formula', others)} of the law grew")
    lines.append(f"  next     {_next(difference)}")
    return tuple(lines)


def difference_text(difference: Difference) -> str:
    """The same lines as one text, for pytest."""
    return "\n".join(difference_lines(difference))


def render_differences(
    differences: Sequence[Difference], console: Console, *, quiet: bool = False
) -> None:
    """Print every difference that a reader has to know of, then the counts.

    Args:
        differences: in the order to show them.
        console: where to.
        quiet: only what is not green.
    """
    for difference in differences:
        green = _VERDICTS[difference.change] == "PASS"
        if difference.change is Change.SAME or (quiet and green):
            continue
        for line in difference_lines(difference):
            print_line(console, line)
        console.print()
    print_line(console, closing_line(differences))


def closing_line(differences: Sequence[Difference]) -> str:
    """The counts: ``laws: 3 as locked, 1 grew``."""
    counts = Counter(difference.change for difference in differences)
    parts = [f"{counts[change]} {change.value}" for change in Change if counts[change]]
    return f"laws: {', '.join(parts) or 'none compared'}"


def _growth_lines(growth: Growth) -> Iterator[str]:
    yield from _formula("locked", "-", growth, now=False)
    yield from _formula("now", "+", growth, now=True)
    for term in growth.terms:
        yield f"{'larger' if term.locked else 'new':<9}> {_term(term, growth)}"
        for line, part in term.lines[:_MAX_LINES]:
            each = f"{_number(part)} bytes per {unit_of(term.term)}"
            yield f"{'':<11}{printable(str(line))}  {each}"
        left = len(term.lines) - _MAX_LINES
        if left > 0:
            yield f"{'':<11}and {left} more {_plural('line', left)}"
    where = ", ".join(f"{axis}={size:,}" for axis, size in _shown_sizes(growth).items())
    amounts = f"{growth.locked_bytes:,} bytes locked, {growth.now_bytes:,} now"
    yield f"{'peak':<9}{amounts}{f', at {where}' if where else ''}"


def _formula(label: str, sign: str, growth: Growth, *, now: bool) -> Iterator[str]:
    """One side of the diff, its label and sign before the first line."""
    polynomial = growth.now if now else growth.locked
    for index, text in enumerate(law_lines(polynomial, _FORMULA_WIDTH)):
        yield f"{label if index == 0 else '':<9}{sign} {text}"


def _term(grown: GrownTerm, growth: Growth) -> str:
    amount = format_bytes(float(grown.term(growth.sizes)))
    was = f", {_number(grown.locked)} locked" if grown.locked else ""
    return f"{grown.term}  ({amount}{was})"


def _shown_sizes(growth: Growth) -> dict[str, int]:
    """The sizes that either formula speaks of."""
    axes = growth.now.axes | growth.locked.axes
    return {axis: size for axis, size in growth.sizes.items() if axis in axes}


def _number(value: object) -> str:
    text = str(value)
    return f"{int(text):,}" if text.lstrip("-").isdigit() else text


def _next(difference: Difference) -> str:
    command = printable(difference.lock_command)
    if difference.change is Change.GREW:
        return f"fix it, or lock the larger law: {command}"
    return f"promise the law as it is now: {command}"


def _plural(word: str, number: int) -> str:
    if number == 1:
        return word
    return "formulas" if word == "formula" else f"{word}s"
