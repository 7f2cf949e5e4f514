"""A subject's life as lines of text and as JSON."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

from oom_suite.history.recorded import Recorded
from oom_suite.report.rows import printable
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oom_suite.history.life import Life, Step

_COMMIT_DIGITS = 10
_DATE_DIGITS = 10
_MAX_LINES = 3
_INDENT = "  "
_OF_THE_LIFE = frozenset({"line", "workload", "target", "scenario", "sizes", "lane"})
"""What is said once, of all results of a life."""
_LEFT_OUT = frozenset({"environment", "body"})


def summary_lines(lives: Sequence[Life]) -> Iterator[str]:
    """A line for each life: what it is of, how many results and steps, the newest."""
    rows = [
        (
            f"{life.last.line}  {_what(life.last)}",
            f"{len(life.results)} result{'s' * (len(life.results) != 1)}",
            f"{len(life.steps)} step{'s' * (len(life.steps) != 1)}",
            f"{_peak(life.last)} at {_name(life.last) or life.last.made_at[:_DATE_DIGITS]}",
        )
        for life in lives
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False))
        yield printable("  ".join((*cells, row[-1])))


def life_lines(life: Life, *, only_steps: bool = False) -> Iterator[str]:
    """A life: each result with its peak, the first one's law, and each step below its result.

    Args:
        life: whose.
        only_steps: leave out results that differ in nothing from the one before.
    """
    yield printable(f"{life.last.line}: {_what(life.last)}")
    steps = {step.after.key: step for step in life.steps}
    shown = [
        (first, rest)
        for first, *rest in _alike(life.results, steps)
        if not only_steps or first.key in steps or first is life.results[0]
    ]
    width = max(len(_name(first)) for first, _ in shown)
    peaks = max(len(_peak(first)) for first, _ in shown)
    for number, (first, rest) in enumerate(shown):
        again = f"  and {len(rest)} more until {rest[-1].made_at[:_DATE_DIGITS]}" if rest else ""
        start = f"{first.made_at[:_DATE_DIGITS]}  {_name(first):<{width}}  {first.verdict:<12}"
        law = f"  {_formula(first)}" if number == 0 and first.law else ""
        yield printable(f"{_INDENT}{start}  {_peak(first):>{peaks}}{law}{again}")
        if first.key in steps:
            yield from (f"{_INDENT * 3}{printable(line)}" for line in step_lines(steps[first.key]))
    if life.steps and life.last.law:
        yield printable(f"{_INDENT}law now  {_formula(life.last)}")


def _alike(results: Sequence[Recorded], steps: Any) -> Iterator[list[Recorded]]:
    """Neighbours that say the same of the same code, together."""
    number = 0

    def same(each: Recorded) -> tuple[Any, ...]:
        nonlocal number
        number += each.key in steps
        return number, _name(each), each.verdict, each.place, each.law, each.num_bytes

    for _, group in groupby(results, key=same):
        yield list(group)


def step_lines(step: Step) -> Iterator[str]:
    """What changed, from what to what, and where."""
    was, now = step.before, step.after
    what = f"{_peak(was)} -> {_peak(now)}"
    if step.direction == "changed" and was.num_bytes == now.num_bytes:
        what = "another law with the same peak"
    yield f"{step.direction}: {what}, {_name(was)} -> {_name(now)}"
    for change in step.terms:
        if change.was and change.now:
            yield f"~ {change.was} -> {change.now}"
        else:
            yield f"- {change.was}" if change.was else f"+ {change.now}"
    yield from step.inside
    if number := step.num_other_formulas:
        yield f"{number} formula{'s' * (number != 1)} for other sizes came or went"
    yield from step.places
    yield from step.lines[:_MAX_LINES]


def _what(result: Recorded) -> str:
    parts = [f"workload {result.workload}", result.target, f"scenario {result.scenario}"]
    # What was predicted is the rule, and says so by saying nothing.
    kind = "" if result.kind == "check" else result.kind
    lane = "" if result.lane in {"shadow", kind} else result.lane
    return ", ".join(part for part in (*parts, kind, lane) if part)


def _name(result: Recorded) -> str:
    """The release, else the commit with a star where files differed, else nothing."""
    if result.release:
        return result.release
    return result.code_commit[:_COMMIT_DIGITS] + ("*" if result.is_dirty else "")


def _peak(result: Recorded) -> str:
    peak = "unknown" if result.num_bytes is None else format_bytes(result.num_bytes)
    return peak if result.elapsed_us is None else f"{peak} {result.elapsed_us:,.1f} us"


def _formula(result: Recorded) -> str:
    law = json.loads(result.law)
    return " + ".join((law["formulas"][0], *law["inside"]))


def life_json(life: Life) -> dict[str, Any]:
    """A life as JSON values."""
    last = life.last
    return {
        "subject": last.line,
        "workload": last.workload,
        "target": last.target,
        "scenario": last.scenario,
        "sizes": json.loads(last.sizes),
        "lane": last.lane,
        "results": [_result_json(each) for each in life.results],
        "steps": [_step_json(step) for step in life.steps],
    }


def _result_json(result: Recorded) -> dict[str, Any]:
    names = [name for name in Recorded.__slots__ if name not in _OF_THE_LIFE | _LEFT_OUT]
    law = json.loads(result.law) if result.law else None
    return {**{name: getattr(result, name) for name in names}, "law": law}


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "direction": step.direction,
        "before": step.before.key,
        "after": step.after.key,
        "terms": [{"was": each.was or None, "now": each.now or None} for each in step.terms],
        "num_other_formulas": step.num_other_formulas,
        "inside": list(step.inside),
        "places": list(step.places),
        "lines": list(step.lines),
    }
