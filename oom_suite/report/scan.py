"""A scan on a terminal: one table of laws, what is broken and how to see it again, what changed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from oom_suite.records.scan import Change, Found, ScanRow, Stretch, changes, stretches
from oom_suite.report.narrow import captured, stacked, width_of, words
from oom_suite.report.rows import brief, printable
from oom_suite.report.screen import print_line
from oom_suite.report.wording import law_lines, num_bytes_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

_STYLES = {
    Found.PASS: "green",
    Found.FAIL: "bold red",
    Found.INCONCLUSIVE: "yellow",
    Found.ABSENT: "dim",
}
WORDS = {
    Found.PASS: "PASS",
    Found.FAIL: "FAIL",
    Found.INCONCLUSIVE: "INCONCLUSIVE",
    Found.ABSENT: "not there",
}
_KINDS = {
    "broken": "now breaks its promise",
    "cured": "now keeps its promise",
    "came": "is there now",
    "went": "is not there any more",
    "grew": "takes more",
    "shrank": "takes less",
    "law": "has another law, and the same bytes at the scenario",
    "unclear": "cannot be compared: one of the two was not judged",
}
_HEAD = ("workload", "release", "verdict", "law at the scenario", "peak")
_LAW = 3
_WIDTH = 100
_UNBOUNDED = 10_000
_LEAST_LAW = 28
_GAP = 2
_LABEL = 8
_SEPARATOR = "=="


def render_scan(
    rows: Sequence[ScanRow], subjects: Sequence[str], console: Console, *, compares: bool = False
) -> None:
    """Print the table, a block for what is not as promised, what is by design, what changed.

    Args:
        rows: what was found.
        subjects: in order, such as oldest first.
        console: where to; the table keeps to its width.
        compares: whether what changed from each subject to the next is said.
    """
    found = stretches(rows, subjects)
    with_target = len({row.unit.target for row in rows}) > 1
    if found:
        _print_table(found, console, with_target=with_target)
    for line in lines_below(found):
        print_line(console, line)
    if compares:
        for line in change_lines(changes(rows, subjects)):
            print_line(console, line)
    print_line(console, closing_line(rows))


def lines_below(found: Sequence[Stretch]) -> Iterator[str]:
    """What the table has no room for, blocks with an empty line after each."""
    alike: dict[tuple[tuple[str, ...], str], list[Stretch]] = {}
    for stretch in found:
        if stretch.row.found in (Found.FAIL, Found.INCONCLUSIVE):
            alike.setdefault((stretch.subjects, stretch.row.reason), []).append(stretch)
    for first, *more in alike.values():
        yield from _block(first, len(more))
        yield ""
    for title, lines in (
        ("by design:", _by_design_lines(found)),
        ("not there:", _absent_lines(found)),
        ("notes:", _note_lines(found)),
    ):
        if lines:
            yield title
            yield from (f"  {line}" for line in lines)
            yield ""


def closing_line(rows: Sequence[ScanRow]) -> str:
    """How many units there were of each kind."""
    names = {
        Found.FAIL: "broken",
        Found.PASS: "kept",
        Found.INCONCLUSIVE: "not judged",
        Found.ABSENT: "not there",
    }
    counts = {kind: sum(row.found is kind for row in rows) for kind in names}
    said = ", ".join(f"{counts[kind]} {name}" for kind, name in names.items() if counts[kind])
    return said or "nothing was scanned"


def change_lines(found: Sequence[Change]) -> Iterator[str]:
    """What changed from release to release, and an empty line; one line where nothing did."""
    yield "what changed:"
    for one in found:
        yield f"  {change_text(one)}"
    if not found:
        yield "  nothing"
    yield ""


def change_text(change: Change) -> str:
    """One change as a sentence: from what to what, and the bytes at the scenario."""
    before, after = change.before, change.after
    amounts = ""
    if before.peak_bytes is not None and after.peak_bytes is not None:
        pair = (num_bytes_text(before.peak_bytes), num_bytes_text(after.peak_bytes))
        amounts = f" ({pair[0]})" if pair[0] == pair[1] else f" ({pair[0]} to {pair[1]})"
    return printable(
        f"{before.unit.subject} to {after.unit.subject}: {place_text(change.place)} "
        f"{_KINDS[change.kind]}{amounts}"
    )


def place_text(place: tuple[str, str, str]) -> str:
    """``indexer-logits, speculative, rocm:gfx942``."""
    return printable(", ".join(place))


def again(row: ScanRow) -> str:
    """The command that judges this unit alone."""
    unit = row.unit
    words_of = ["oom-suite", "check", unit.subject, "--workload", unit.workload]
    return printable(shlex.join([*words_of, "--scenario", unit.scenario, "--target", unit.target]))


def span(subjects: Sequence[str]) -> str:
    """``vllm==0.21.0``, or ``vllm==0.21.0 to 0.33.0``."""
    first, last = printable(subjects[0]), printable(subjects[-1])
    if first == last:
        return first
    name, _, version = last.partition(_SEPARATOR)
    same = version and first.startswith(f"{name}{_SEPARATOR}")
    return f"{first} to {version if same else last}"


def _block(stretch: Stretch, num_more: int) -> Iterator[str]:
    """What is wrong there, and at how many more places it is the same."""
    row = stretch.row
    more = f", and {num_more} more" if num_more else ""
    yield f"{WORDS[row.found]}  {span(stretch.subjects)}: {place_text(stretch.place)}{more}"
    for label, text in (
        ("why", brief(row.reason)),
        ("line", printable(row.where)),
        ("again", again(row)),
        ("next", printable(row.next_command)),
    ):
        if text:
            yield f"  {label:<{_LABEL}}{text}"


def _by_design_lines(found: Sequence[Stretch]) -> list[str]:
    """A reason once, with the workloads that it holds for."""
    reasons: dict[tuple[str, str], dict[str, None]] = {}
    for stretch in found:
        for axis, reason in stretch.row.by_design.items():
            reasons.setdefault((axis, reason), {})[stretch.place[0]] = None
    return [
        printable(f"{', '.join(workloads)} grow{'s' * (len(workloads) == 1)} with {axis}: {reason}")
        for (axis, reason), workloads in reasons.items()
    ]


def _absent_lines(found: Sequence[Stretch]) -> list[str]:
    """Each workload's missing releases with the reason; several targets say it once."""
    lines = {
        f"{stretch.place[0]} in {span(stretch.subjects)}: {brief(stretch.row.reason)}": None
        for stretch in found
        if stretch.row.found is Found.ABSENT
    }
    return list(lines)


def _note_lines(found: Sequence[Stretch]) -> list[str]:
    return list(dict.fromkeys(printable(note) for one in found for note in one.row.notes))


def _law_lines(row: ScanRow, width: int) -> list[str]:
    """The law in lines that break between terms; a capacity that it may grow with is marked."""
    if not row.law:
        return ["-"]
    lines = [printable(line) for line in law_lines(row.law, width)]
    if row.by_design:
        lines += words(f"by design: {', '.join(row.by_design)}", width)
    return lines


def _print_table(found: Sequence[Stretch], console: Console, *, with_target: bool) -> None:
    width = width_of(console, _WIDTH)
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
        header_style="bold",
    )
    for title in _HEAD:
        table.add_column(title, justify="right" if title == "peak" else "left", no_wrap=True)
    rows = [_cells(stretch, with_target=with_target) for stretch in found]
    others = [max(line.cell_len for row in rows for line in row[at]) for at in range(len(_HEAD))]
    room = width - sum(max(len(title), one) for title, one in zip(_HEAD, others, strict=True))
    # Beside its law's column each has a space behind it.
    law_width = max(_LEAST_LAW, room + len(_HEAD[_LAW]) - _GAP * len(_HEAD))
    for stretch, row in zip(found, rows, strict=True):
        row[_LAW] = [Text(line) for line in _law_lines(stretch.row, law_width)]
        table.add_row(*(Text("\n").join(cell) for cell in row))
    needed = Measurement.get(console, console.options.update(width=_UNBOUNDED), table).maximum
    if needed > width:
        for line in stacked(_HEAD[1:], [(row[0], row[1:]) for row in rows], width, right={3}):
            console.print(line, soft_wrap=True, highlight=False)
    elif console.is_terminal:
        console.print(table)
    else:
        print_line(console, "\n".join(captured(table, console, width)))
    print_line(console, "")


def _cells(stretch: Stretch, *, with_target: bool) -> list[list[Text]]:
    """The lines of each column; those of the law, which takes what room is left, are not there."""
    row = stretch.row
    workload, scenario, target = stretch.place
    names = [Text(printable(workload)), Text(f"  {printable(scenario)}", style="dim")]
    if with_target:
        names.append(Text(f"  {target}", style="dim"))
    first, last = stretch.subjects[0], stretch.subjects[-1]
    releases = [Text(printable(first))]
    if first != last:
        releases.append(Text(f"  to {printable(last.partition(_SEPARATOR)[2] or last)}"))
    return [
        names,
        releases,
        [Text(WORDS[row.found], style=_STYLES[row.found])],
        [Text()],
        [Text(num_bytes_text(row.peak_bytes))],
    ]
