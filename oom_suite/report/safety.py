"""The tables of the safety check."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING, TypeAlias

from rich.text import Text

from oom_suite.records import Verdict
from oom_suite.report.rows import printable
from oom_suite.report.screen import print_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from oom_suite.records.safety import Finding, Hit, SafetyReport


MAX_HITS = 6
"""Hits shown of one finding; the JSON file has all."""

NO_GROWTH = "Growth was not judged: none of this says how the peak grows with the pool."
"""What no finding says, however green it is: a step may take the whole pool."""

_INDENT = "  "
_LABEL_WIDTH = 9
_NAME_WIDTH = 11
_NOT_PROVED_PREFIX = "does not prove "
_Cell: TypeAlias = tuple[str, str]
_Column: TypeAlias = list[_Cell]
_STYLES = {"PASS": "green", "FAIL": "bold red", "INCONCLUSIVE": "yellow"}


def render_safety(
    reports: Sequence[SafetyReport], console: Console, *, quiet: bool = False
) -> None:
    """Print subject by property, then each finding that is no PASS, and what no PASS proves.

    Args:
        reports: in the order to show them; each with findings on the same properties.
        console: where to; a terminal's width is kept to, and lines stay whole where nobody
            watches, but for the prose at the end.
        quiet: only what is not as expected, the counts, and that growth was not judged.
    """
    if not quiet:
        for line in _table(reports, console.width if console.is_terminal else None):
            print_line(console, line)
        print_line(console, "")
    for report in reports:
        for finding in report.findings:
            if finding.verdict is Verdict.PASS or (quiet and _is_expected(report, finding)):
                continue
            for text in finding_lines(report, finding):
                _print_row(console, text, _INDENT + " " * _LABEL_WIDTH)
            print_line(console, "")
    if not quiet:
        for text in _not_proved(reports):
            _print_row(console, text, _INDENT + " " * _NAME_WIDTH, is_prose=True)
        print_line(console, "")
    if reports:
        _print_row(console, NO_GROWTH, _INDENT, is_prose=True)
        _print_row(console, _row("next", check_command(reports)), _INDENT + " " * _LABEL_WIDTH)
    print_line(console, closing_line(reports))


def finding_lines(report: SafetyReport, finding: Finding) -> Iterator[str]:
    """A finding in full: verdict, reason, and each hit with its line and its bytes.

    What the reason says already, mostly the plainest hit's text and line, no hit repeats.
    """
    expected = " (expected)" if _is_expected(report, finding) else ""
    yield f"{finding.verdict.value}{expected} {printable(report.subject)}: {finding.name}"
    yield _row("reason", finding.reason)
    for hit in finding.hits[:MAX_HITS]:
        has_text = finding.reason.startswith(hit.text)
        yield _row("hit", hit.kind if has_text else f"{hit.kind}: {hit.text}")
        shown = finding.reason if has_text else hit.text
        if hit.frame is not None and str(hit.frame) not in shown:
            yield _row("", f"at {hit.frame}")
        where = _region(hit)
        if where:
            yield _row("", where)
    more = len(finding.hits) - MAX_HITS
    if more > 0:
        yield _row("", f"and {more} more, which --json writes")


def closing_line(reports: Sequence[SafetyReport]) -> str:
    """The counts."""
    pairs = [(report, finding) for report in reports for finding in report.findings]
    num_open = sum(one.verdict is Verdict.INCONCLUSIVE for _, one in pairs)
    num_fine = sum(
        _is_expected(report, one)
        for report, one in pairs
        if one.verdict is not Verdict.INCONCLUSIVE
    )
    subjects = f"{len(reports)} subject{'' if len(reports) == 1 else 's'}"
    verdicts = f"{len(pairs)} verdict{'' if len(pairs) == 1 else 's'}"
    return (
        f"{subjects}, {verdicts}: {num_fine} as expected, "
        f"{len(pairs) - num_fine - num_open} not as expected, {num_open} inconclusive"
    )


def check_command(reports: Sequence[SafetyReport]) -> str:
    """What judges the growth of these subjects."""
    subjects = shlex.join(printable(report.subject) for report in reports)
    named = next((f" --workload {report.workload}" for report in reports if report.workload), "")
    return f"oom-suite check {subjects}{named}"


def _is_expected(report: SafetyReport, finding: Finding) -> bool:
    wanted = Verdict.FAIL if finding.name in report.expected else Verdict.PASS
    return finding.verdict is wanted


def _table(reports: Sequence[SafetyReport], width: int | None) -> Iterator[Text]:
    """The rows, in as many tables below each other as the width asks for; None: in one."""
    names = [finding.name for finding in reports[0].findings] if reports else []
    columns = [[("subject", ""), *((printable(report.subject), "") for report in reports)]]
    for at, name in enumerate(names):
        columns.append([(name, "bold"), *(_cell(report, at) for report in reports)])
    for number, shown in enumerate(_folded(columns, width)):
        if number:
            yield Text("")
        yield from _rows(shown)


def _cell(report: SafetyReport, at: int) -> _Cell:
    finding = report.findings[at]
    word = finding.verdict.value
    known = word == "FAIL" and _is_expected(report, finding)
    return (f"{word} (expected)", "dim") if known else (word, _STYLES[word])


def _folded(columns: Sequence[_Column], width: int | None) -> Iterator[list[_Column]]:
    """The columns in groups that fit the width, each group with the subjects before it."""
    subjects, *others = columns
    shown = [subjects]
    for column in others:
        wanted = sum(_widest(each) + len(_INDENT) for each in (*shown, column)) - len(_INDENT)
        if width is not None and wanted > width and len(shown) > 1:
            yield shown
            shown = [subjects]
        shown.append(column)
    yield shown


def _widest(column: _Column) -> int:
    return max(len(word) for word, _ in column)


def _rows(columns: Sequence[_Column]) -> Iterator[Text]:
    for cells in zip(*columns, strict=True):
        line = Text()
        for (word, style), column in zip(cells, columns, strict=True):
            line.append(word, style=style)
            line.append(" " * (_widest(column) - len(word) + len(_INDENT)))
        line.rstrip()
        yield line


def _region(hit: Hit) -> str:
    region = hit.region
    if region is None:
        return ""
    end = region.first_byte + region.num_bytes - 1
    parts = [f"{region.tensor}: {region.what}"]
    parts.extend([] if region.block is None else [f"block {region.block}"])
    parts.extend([] if region.slot is None else [f"slot {region.slot}"])
    parts.append(f"bytes {region.first_byte:,} to {end:,}")
    if region.distance_bytes:
        parts.append(f"{region.distance_bytes:,} from the nearest it may touch")
    return ", ".join(parts)


def _not_proved(reports: Sequence[SafetyReport]) -> Iterator[str]:
    not_proved: dict[str, str] = {}
    for report in reports:
        for finding in report.findings:
            if finding.not_proved and finding.verdict is Verdict.PASS:
                not_proved.setdefault(finding.name, finding.not_proved)
    if not not_proved:
        return
    yield "A PASS does not prove:"
    for name in (one.name for one in reports[0].findings if one.name in not_proved):
        text = printable(not_proved[name].removeprefix(_NOT_PROVED_PREFIX)).rstrip(".")
        yield f"{_INDENT}{name:<{_NAME_WIDTH}}{text}"


def _row(label: str, text: str) -> str:
    return f"{_INDENT}{label:<{_LABEL_WIDTH}}{printable(text)}".rstrip()


def _print_row(console: Console, row: str, hang: str, *, is_prose: bool = False) -> None:
    """The row, broken at the console's width: on a terminal always, and prose everywhere."""
    if not is_prose and not console.is_terminal:
        print_line(console, row)
        return
    room = max(console.width, len(hang) + 1)
    under = hang if row.startswith(_INDENT) else _INDENT
    for line in textwrap.wrap(row, room, subsequent_indent=under, break_on_hyphens=False):
        print_line(console, line)
