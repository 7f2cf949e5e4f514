"""A result as plain text, for pytest and logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.report.wording import failure_rows, headline

if TYPE_CHECKING:
    from oom_suite.records import Result

LABEL_WIDTH = 9
INDENT = "  "


def failure_text(result: Result) -> str:
    """The result in full as lines of plain text, unwrapped: paths stay whole and clickable."""
    lines = [headline(result)]
    for row in failure_rows(result):
        for index, line in enumerate(row.lines):
            label = row.label if index == 0 else ""
            lines.append(f"{INDENT}{label:<{LABEL_WIDTH}}{line.text}".rstrip())
    return "\n".join(lines)
