"""Safety reports for a person at a terminal: a table, each breach with its lines, what is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from oom_suite.records import Verdict
from oom_suite.report.rows import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from oom_suite.records.safety import Finding, Hit, SafetyReport

MAX_HITS = 6
"""Hits shown of one finding; the JSON file has all."""

_INDENT = "  "
_LABEL_WIDTH = 9
_SAID = "does not prove "
_STYLES = {"PASS": "green", "FAIL": "bold red", "INCONCLUSIVE": "yellow"}


def render_safety(
    reports: Sequence[SafetyReport], console: Console, *, quiet: bool = False
) -> None:
    """Print subject by property, then each finding that is no PASS, and what no PASS proves.

    Args:
        reports: in the order to show them; each with findings on the same properties.
        console: where to; lines are not wrapped.
        quiet: only what is not as expected, and the counts.
    """
    if not quiet:
        for line in _table(reports):
            _print(console, line)
        _print(console, "")
    for report in reports:
        for finding in report.findings:
            if finding.verdict is Verdict.PASS or (quiet and _is_expected(report, finding)):
                continue
            for text in finding_lines(report, finding):
                _print(console, text)
            _print(console, "")
    if not quiet:
        for text in _not_proved(reports):
            _print(console, text)
        _print(console, "")
    _print(console, closing_line(reports))


def finding_lines(report: SafetyReport, finding: Finding) -> Iterator[str]:
    """A finding in full: verdict, reason, and each hit with its line and its bytes."""
    expected = " (expected)" if _is_expected(report, finding) else ""
    yield f"{finding.verdict.value}{expected} {printable(report.subject)}: {finding.name}"
    yield _row("reason", finding.reason)
    for hit in finding.hits[:MAX_HITS]:
        yield _row("hit", f"{hit.kind}: {hit.text}")
        if hit.frame is not None and str(hit.frame) not in hit.text:
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


def _is_expected(report: SafetyReport, finding: Finding) -> bool:
    wanted = Verdict.FAIL if finding.name in report.expected else Verdict.PASS
    return finding.verdict is wanted


def _table(reports: Sequence[SafetyReport]) -> Iterator[Text]:
    names = [finding.name for finding in reports[0].findings] if reports else []
    rows = [[("subject", ""), *((name, "bold") for name in names)]]
    for report in reports:
        cells = [(printable(report.subject), "")]
        for finding in report.findings:
            word = finding.verdict.value
            known = word == "FAIL" and _is_expected(report, finding)
            cells.append((f"{word} (expected)", "dim") if known else (word, _STYLES[word]))
        rows.append(cells)
    widths = [max(len(row[at][0]) for row in rows) for at in range(len(names) + 1)]
    for row in rows:
        line = Text()
        for (word, style), width in zip(row, widths, strict=True):
            line.append(word, style=style)
            line.append(" " * (width - len(word) + 2))
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
    said: dict[str, str] = {}
    for report in reports:
        for finding in report.findings:
            if finding.not_proved and finding.verdict is Verdict.PASS:
                said.setdefault(finding.name, finding.not_proved)
    if not said:
        return
    yield "A PASS does not prove:"
    for name in (one.name for one in reports[0].findings if one.name in said):
        text = said[name]
        yield f"{_INDENT}{name:<{_LABEL_WIDTH + 1}}{text.removeprefix(_SAID)}"


def _row(label: str, text: str) -> str:
    return f"{_INDENT}{label:<{_LABEL_WIDTH}}{printable(text)}".rstrip()


def _print(console: Console, line: str | Text) -> None:
    text = line if isinstance(line, Text) else Text(line)
    console.print(text, soft_wrap=True, highlight=False)
