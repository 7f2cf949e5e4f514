"""The words for a result: its headline, its law with the guilty term marked, the whole failure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from oom_suite.records import Verdict
from oom_suite.report.breaches import advice_rows, blame_lines, other_formula_lines, term_lines
from oom_suite.report.measured import measured_rows
from oom_suite.report.rows import Line, Row, brief, printable
from oom_suite.targets.budgets import is_total
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oom_suite.records import BudgetFit, HostMemory, Polynomial, Result


OF_NO_KIND = "generic"
"""The target that reports leave out: an accelerator of no particular kind."""

_REPRODUCES = "reproduces "


def verdict_text(result: Result) -> str:
    """``PASS``, or what was found and what was expected, ``FAIL (expected: reproduces #41962)``."""
    verdict = result.verdict.value
    if not result.as_expected:
        wanted = result.expected
        return verdict if wanted is Verdict.PASS else f"{verdict} (expected: {wanted.value})"
    if result.verdict is Verdict.PASS:
        return verdict
    known = next((note for note in result.notes if note.startswith(_REPRODUCES)), "")
    return f"{verdict} (expected: {printable(known)})" if known else f"{verdict} (expected)"


def num_bytes_text(num_bytes: int | None) -> str:
    """The amount in binary units; ``-`` when it is not known."""
    return "-" if num_bytes is None else format_bytes(num_bytes)


def exact_bytes_text(num_bytes: int) -> str:
    """The amount in binary units and to the byte: ``13.54 GiB (14,538,440,704 bytes)``."""
    short = format_bytes(num_bytes)
    return short if short.endswith(" B") else f"{short} ({num_bytes:,} bytes)"


def host_text(host: HostMemory) -> str:
    """Kind, bytes at the scenario and law: ``pageable 64.00 KiB (65,536 bytes): 128*pool``."""
    return f"{host.kind} {exact_bytes_text(host.peak_requested_bytes)}: {host.law.here}"


def law_lines(polynomial: Polynomial | str, width: int) -> tuple[str, ...]:
    """The law's text broken before `` + ``, so that no term is split.

    Args:
        polynomial: the law at the scenario.
        width: characters that a line should not exceed; one long term may.
    """
    lines: list[str] = []
    for term in str(polynomial).replace(" - ", " + - ").split(" + "):
        text = term if not lines else f"+ {term}".replace("+ - ", "- ")
        if lines and len(lines[-1]) + 1 + len(text) <= width:
            lines[-1] += f" {text}"
        else:
            lines.append(text)
    return tuple(lines)


def unit_of(term: Polynomial) -> str:
    """What a one-term polynomial's coefficient is counted per: ``num_tokens*topk``; ``call``."""
    (axes,) = term.terms
    return str(type(term).of({axes: 1}, term.order)) if axes else "call"


def budget_text(budget: BudgetFit | None) -> str:
    """``fits 12.74GiB``, ``over MI325X (total)``, or ``-`` without a budget."""
    if budget is None:
        return "-"
    total = " (total)" if is_total(budget.name) else ""
    return f"{'fits' if budget.fits else 'over'} {printable(budget.name)}{total}"


def headline(result: Result) -> str:
    """Verdict, subject, workload, lane and scenario, on one line."""
    return printable(
        f"{verdict_text(result)}  {result.subject}: workload {result.workload}, "
        f"lane {result.lane}, scenario {result.scenario}{for_target(result)}"
    )


def for_target(result: Result) -> str:
    """``, for cuda:sm_90``; nothing for an accelerator of no particular kind."""
    return "" if result.target == OF_NO_KIND else f", for {result.target}"


def target_lines(results: Sequence[Result]) -> Iterator[str]:
    """One line for each subject and workload whose results differ from target to target."""
    found: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        found.setdefault((result.subject, result.workload), []).append(result)
    for (subject, workload), each in found.items():
        said: dict[str, list[str]] = {_said(result): [] for result in each}
        for result in each:
            said[_said(result)].append(result.target)
        if len(said) > 1:
            parts = [f"{', '.join(names)}: {text}" for text, names in said.items()]
            yield printable(f"{subject} ({workload}) differs by target: {'; '.join(parts)}")


def _said(result: Result) -> str:
    """What may differ from target to target, in one clause."""
    law = "no law" if result.law is None else str(result.law.here)
    return f"{result.verdict.value}, {law}, peak {num_bytes_text(result.peak_requested_bytes)}"


def _law_row(result: Result) -> Iterator[Row]:
    if result.law is None:
        return
    here = result.law.here
    lines = list(term_lines(result, here, result.sizes)) or [Line("0")]
    others = len(result.law.regimes) - 1
    if others:
        lines.append(Line(f"the maximum of this and {others} more; this one wins at the scenario"))
    lines.extend(Line(f"+ {printable(str(term))}") for term in result.inside)
    lines.extend(other_formula_lines(result, ""))
    lines.extend(Line(printable(note)) for note in result.law.notes)
    yield Row("law", tuple(lines))


def _host_lines(result: Result) -> Iterator[Line]:
    for host in result.host:
        yield Line(host_text(host))
        yield from other_formula_lines(result, host.name)


def _budget_row(result: Result) -> Iterator[Row]:
    fit = result.budget
    if fit is None:
        return
    name, free = printable(fit.name), format_bytes(fit.free_bytes)
    peak = result.peak_allocated_bytes or result.peak_requested_bytes
    if fit.fits:
        text = f"fits {name}: {num_bytes_text(peak)} of {free}"
    elif peak is not None and peak > fit.free_bytes:
        over = format_bytes(peak - fit.free_bytes)
        text = f"over {name} by {over}: {format_bytes(peak)} of {free}"
    else:
        text = f"does not fit {name} ({free})"
    lines = [Line(text, guilty=not fit.fits)]
    if is_total(fit.name):
        lines.append(Line(f"which is all that one has: give what is free, as {name}:12.74GiB"))
    yield Row("budget", tuple(lines))


def _unseen_lines(result: Result) -> tuple[Line, ...]:
    """One line for each operator and source line, however many calls lead there."""
    largest: dict[tuple[str, str, str], int] = {}
    for unseen in result.unseen:
        key = (unseen.op, f" at {unseen.stack[0]}" if unseen.stack else "", unseen.reason)
        largest[key] = max(largest.get(key, 0), unseen.input_bytes)
    return tuple(
        Line(printable(f"{op}{where}: {reason} (inputs {format_bytes(num_bytes)})"))
        for (op, where, reason), num_bytes in largest.items()
    )


def failure_rows(result: Result) -> tuple[Row, ...]:
    """What a reader needs to act on a result, one row for each kind of fact, facts only.

    The first says why; the last what to run next.
    """
    rows = [Row("why", (Line(brief(result.reason)),))] if result.reason else []
    if result.peak_requested_bytes is not None:
        text = f"{exact_bytes_text(result.peak_requested_bytes)} requested"
        if result.peak_allocated_bytes is not None:
            text += f", {format_bytes(result.peak_allocated_bytes)} allocated"
        if result.peak_reserved_bytes is not None:
            text += f", {format_bytes(result.peak_reserved_bytes)} reserved"
        rows.append(Row("peak", (Line(text),)))
    rows.extend(_law_row(result))
    if result.blame:
        rows.append(Row("blame", tuple(blame_lines(result))))
    if result.largest_request_bytes is not None:
        text = f"{exact_bytes_text(result.largest_request_bytes)} in one request"
        rows.append(Row("largest", (Line(text),)))
    rows.extend(_budget_row(result))
    if result.host:
        rows.append(Row("host", tuple(_host_lines(result))))
    unseen = _unseen_lines(result)
    if unseen:
        rows.append(Row("unseen", unseen))
    notes = tuple(Line(printable(n)) for n in result.notes if not n.startswith(_REPRODUCES))
    if notes:
        rows.append(Row("note", notes))
    rows.extend(measured_rows(result))
    if result.holds:
        why = f": {result.holds_because}" if result.holds_because else ""
        rows.append(Row("instead", (Line(printable(f"{result.holds} would pass{why}")),)))
    rows.extend(advice_rows(result))
    if result.next_command:
        rows.append(Row("next", (Line(printable(result.next_command)),)))
    return tuple(rows)


def needs_block(result: Result) -> bool:
    """Whether a result is to be explained: it did not pass, or passed against expectation."""
    return result.verdict is not Verdict.PASS or not result.as_expected


def _outcome(result: Result) -> str:
    if result.verdict is Verdict.INCONCLUSIVE:
        return "inconclusive"
    if result.verdict is Verdict.PASS:
        return "passed" if result.as_expected else "passed unexpectedly"
    return "failed as expected" if result.as_expected else "failed"


def closing_line(results: Sequence[Result]) -> str:
    """The counts: ``3 passed, 1 failed as expected``."""
    counts = Counter(_outcome(result) for result in results)
    order = ("passed", "passed unexpectedly", "failed as expected", "failed", "inconclusive")
    return ", ".join(f"{counts[name]} {name}" for name in order if counts[name]) or "nothing judged"


LABEL_WIDTH = 9
INDENT = "  "


def advice_lines(result: Result) -> Iterator[str]:
    """What to do, as lines below a headline."""
    for row in advice_rows(result):
        yield from (f"{INDENT}{row.label:<{LABEL_WIDTH}}{line.text}" for line in row.lines)


def failure_text(result: Result) -> str:
    """The result in full as lines of plain text, unwrapped: paths stay whole and clickable."""
    lines = [headline(result)]
    for row in failure_rows(result):
        for index, line in enumerate(row.lines):
            label = row.label if index == 0 else ""
            lines.append(f"{INDENT}{label:<{LABEL_WIDTH}}{line.text}".rstrip())
    return "\n".join(lines)
