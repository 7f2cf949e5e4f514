"""What a profile run covers, for a person at a terminal: a row for each step, then the gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from oom_suite.records import Verdict
from oom_suite.report.narrow import captured, width_of
from oom_suite.report.rows import brief, printable
from oom_suite.report.screen import print_line
from oom_suite.report.wording import num_bytes_text
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from oom_suite.records.serving import CoversReport, Slack, StepResult

_COLUMNS = ("step", "verdict", "largest", "profile run", "uncovered")
_WORDED = frozenset({"step", "verdict"})
_PIPED_WIDTH = 100
_WORDS = {
    Verdict.PASS: "covered",
    Verdict.FAIL: "NOT COVERED",
    Verdict.INCONCLUSIVE: "INCONCLUSIVE",
}
_MAX_BLAMED = 3


def render_covers(report: CoversReport, console: Console) -> None:
    """Print the server, the steps, and what is not covered."""
    for line in covers_lines(report):
        print_line(console, line)
    lines = captured(_table(report), console, _PIPED_WIDTH)
    if max(len(Text.from_ansi(line)) for line in lines) > width_of(console, _PIPED_WIDTH):
        lines = [" ".join(cells) for cells in map(_cells, report.steps)]
    print_line(console, "\n".join(lines))
    for found in report.steps:
        if found.result.verdict is not Verdict.PASS:
            print_line(console, "\n" + "\n".join(step_lines(found, report.slack)))
    print_line(console, "\n" + _summary(report))


def covers_lines(report: CoversReport) -> tuple[str, ...]:
    """The server, in two lines: its flags, and where its profile run is."""
    flags = " ".join(f"--{name} {value}" for name, value in report.flags.items())
    return (
        f"{printable(report.subject)} for {report.target}, {report.model}: {flags}",
        f"profile run: {report.where}, without metadata of attention",
    )


def step_lines(found: StepResult, slack: Slack | None) -> Iterator[str]:
    """What is known of a step that is not shown to be covered."""
    step, result, coverage = found.step, found.result, found.result.coverage
    own = {axis for axis, _, _ in step.box}
    yield f"{_WORDS[result.verdict]}  {step.name} (workload {step.workload})"
    yield f"  why      {brief(printable(result.reason))}"
    if coverage is not None:
        varied = [
            f"{axis} {least:,} to {most:,}" if least < most else f"{axis} {most:,}"
            for axis, least, most in coverage.box
            if axis in own
        ]
        yield f"  box      {', '.join(varied)}"
    yield f"  profile  {step.runs} ({step.where})"
    if coverage is not None and coverage.formula is not None:
        yield f"  law      {coverage.formula}"
        for name, most in coverage.decided.items():
            yield f"           {name} is decided by data, {most:,} at most"
    for blame in result.blame[:_MAX_BLAMED]:
        amount = f"{format_bytes(blame.bytes)}, growing with {blame.axis}"
        yield f"  blame    {blame.file}:{blame.line} ({blame.function}): {amount}"
    if coverage is not None and coverage.is_broken and slack is not None:
        yield f"  memory   {_beside_slack(coverage.over_bytes, slack)}"
    yield from (f"  advice   {printable(one)}" for one in result.advice[:1])
    if found.command:
        yield f"  next     {found.command}"


def _beside_slack(over_bytes: int, slack: Slack) -> str:
    part = f"{slack.utilization:.0%} of {slack.name} leaves {format_bytes(slack.num_bytes)}"
    if over_bytes > slack.num_bytes:
        return f"{part}, less than what is not covered: out of memory"
    return f"{part}, which what is not covered comes out of"


def _table(report: CoversReport) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name in _WORDED else "right", no_wrap=True)
    for found in report.steps:
        table.add_row(*(Text(cell) for cell in _cells(found)))
    return table


def _cells(found: StepResult) -> tuple[str, ...]:
    coverage = found.result.coverage
    name, word = found.step.name, _WORDS[found.result.verdict]
    if coverage is None:
        return name, word, "", "", ""
    most = coverage.at_most_bytes if coverage.is_kept else coverage.most_bytes
    over = coverage.over_bytes
    return (
        name,
        word,
        num_bytes_text(most),
        num_bytes_text(coverage.allowed_bytes),
        num_bytes_text(over) if over else "",
    )


def _summary(report: CoversReport) -> str:
    counts = dict.fromkeys(_WORDS.values(), 0)
    for found in report.steps:
        counts[_WORDS[found.result.verdict]] += 1
    named = [f"{number} {word.lower()}" for word, number in counts.items() if number]
    return ", ".join(named) or "no step was judged"
