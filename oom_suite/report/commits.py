"""What was found of a commit, and what a search over commits ended with, as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.records.lock import Change
from oom_suite.report.rows import brief, printable
from oom_suite.report.screen import print_line
from oom_suite.report.wording import INDENT, LABEL_WIDTH, num_bytes_text, unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console

    from oom_suite.records.commits import CommitSearch, Finding, Judged, Place, Step
    from oom_suite.records.lock import Difference, GrownTerm

_MAX_LINES = 3


def answer_lines(judged: Judged, good: Step | None, diff: Sequence[str]) -> Iterator[str]:
    """What a probe says: a line and the law for each finding, then what changed."""
    if not judged.findings:
        yield f"{judged.verdict.value} {printable(judged.reason)}"
    for finding in judged.findings:
        where = f" ({finding.workload})" if len(judged.findings) > 1 else ""
        yield (f"{finding.verdict.value} {printable(finding.name)}{where}: {brief(finding.reason)}")
        yield from _finding_lines(finding, good)
    yield from _labelled("diff", [printable(line) for line in diff])


def _finding_lines(finding: Finding, good: Step | None) -> Iterator[str]:
    if finding.law:
        yield from _labelled("law", [law_text(finding)])
    if not _has_lines(finding.difference):
        yield from _labelled("blame", [_place(each) for each in finding.blame[:_MAX_LINES]])
    then = _same(finding, good)
    if good is not None and then is not None and then.law and then.law != finding.law:
        yield from _labelled("good", [f"{law_text(then)}, at {printable(good.title)}"])
    if finding.difference is not None:
        yield from growth_lines(finding.difference)


def _has_lines(difference: Difference | None) -> bool:
    """Whether what grew names the lines that brought it."""
    growths = difference.growths[:1] if difference else ()
    return any(term.lines for growth in growths for term in growth.terms)


def _same(finding: Finding, good: Step | None) -> Finding | None:
    """What was found of the same at the good end."""
    known = () if good is None else good.judged.findings
    same = (each for each in known if (each.workload, bool(each.law)) == (finding.workload, True))
    return next(same, None)


def law_text(finding: Finding) -> str:
    """``2928*num_tokens*swa_topk + 4 (peak 1.43 MiB)``."""
    peak = num_bytes_text(finding.peak_requested_bytes)
    return f"{finding.law or 'no law'} (peak {peak})"


def _place(blame: Place) -> str:
    each = f"{blame.bytes_per_unit:,.10g}"
    return printable(f"{blame.file}:{blame.line} ({blame.function}) {each} bytes per {blame.axis}")


def growth_lines(difference: Difference) -> Iterator[str]:
    """The terms that are larger than they were, each with the lines that brought it."""
    for growth in difference.growths[:1]:
        for term in growth.terms:
            yield from _labelled("larger" if term.locked else "new", list(_term_lines(term)))


def _term_lines(term: GrownTerm) -> Iterator[str]:
    was = f" (was {term.locked})" if term.locked else ""
    yield f"> {term.term}{was}"
    for line, part in term.lines[:_MAX_LINES]:
        yield f"  {printable(str(line))} {part} bytes per {unit_of(term.term)}"


def _labelled(label: str, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f"{INDENT}{label if number == 0 else '':<{LABEL_WIDTH}}{line}".rstrip()


def step_line(step: Step) -> str:
    """One line of the log: ``FAIL  1a2b3c4 commit 37 (0.8 s): peak grows with ...``."""
    end = f", the {step.end} end" if step.end else ""
    judged = step.judged
    start = f"{judged.verdict.value:<12}  {printable(step.title)}"
    took = "known from before" if step.is_kept else f"{step.elapsed_s:.1f} s"
    return f"{start}{end} ({took}): {brief(judged.reason)}"


def search_lines(found: CommitSearch) -> Iterator[str]:
    """What a search ended with: the log of its steps, the commit, the laws, and the diff."""
    yield f"{len(found.steps)} {found.noun}s were judged:"
    yield from (f"{INDENT}{step_line(step)}" for step in found.steps)
    for each in found.judged_as:
        yield f"judged: {printable(each)}"
    if found.made_with:
        yield f"with {printable(found.made_with)}"
    yield ""
    for before, after in found.turns if len(found.turns) > 1 else ():
        yield f"it changed between {printable(before)} and {printable(after)}"
    what = f"first {'good' if found.is_repair else 'bad'} {found.noun}"
    last = "the last bad one" if found.is_repair else "the last good one"
    yield f"{what}: {printable(found.first.title)}"
    yield f"{INDENT}{last}: {printable(found.before.title)}"
    for sign, step in (("-", found.before), ("+", found.first)):
        for finding in step.judged.findings:
            name = f"{printable(finding.workload)}: " if finding.workload else ""
            if finding.law:
                yield f"{INDENT}{sign} {name}{law_text(finding)}"
    for change in found.changes:
        if change.change is Change.GREW:
            yield from growth_lines(change)
    if not any(map(_has_lines, found.changes)):
        guilty = (found.before if found.is_repair else found.first).judged
        yield from _labelled("blame", [_place(each) for each in guilty.blame[:_MAX_LINES]])
    yield from _labelled("diff", [printable(line) for line in found.diff])
    for step in found.unjudged:
        why = brief(step.judged.reason)
        yield f"{INDENT}? {printable(step.title)} may be it instead; it could not be judged: {why}"


def render_answer(judged: Judged, good: Step | None, diff: Sequence[str], console: Console) -> None:
    """Print what a probe says."""
    for line in answer_lines(judged, good, diff):
        print_line(console, line)


def render_search(found: CommitSearch, console: Console) -> None:
    """Print what a search ended with."""
    for line in search_lines(found):
        print_line(console, line)
