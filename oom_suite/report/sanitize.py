"""A run under a sanitizer, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.records.sanitizer import SanitizerOutcome
from oom_suite.report.rows import printable

if TYPE_CHECKING:
    from rich.console import Console

    from oom_suite.records.sanitizer import SanitizerRun

_WORDS = {SanitizerOutcome.CLEAN: "PASS", SanitizerOutcome.FOUND: "FAIL"}


def render_sanitizer(run: SanitizerRun, console: Console) -> None:
    """Write the verdict, and each hit with its place."""
    word = _WORDS.get(run.outcome, "INCONCLUSIVE")
    why = run.reason if run.outcome in _WORDS else f"{run.outcome.value}: {run.reason}"
    _say(console, f"{word} {run.subject} under {run.tool}: {why}")
    for hit in run.hits:
        at = f" at {hit.frame}" if hit.frame else ""
        _say(console, f"  {hit.kind}: {hit.text}{at}")


def _say(console: Console, line: str) -> None:
    console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
