"""A bisection for a person at a terminal: what was tried, the boundary, the law on each side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from oom_suite.report.terminal import print_table
from oom_suite.report.wording import boundary_lines

if TYPE_CHECKING:
    from rich.console import Console

    from oom_suite.records import Bisection


def render_bisection(bisection: Bisection, console: Console) -> None:
    """Print every result as one table, and below it the boundary with the change of the law."""
    print_table(bisection.tried, console)
    for line in boundary_lines(bisection):
        console.print(Text(line), soft_wrap=True, highlight=False)
