"""The reporters of the suite itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from oom_suite.records import Result
    from oom_suite.report.reporter import Reporter


class JsonReporter:
    """All that is known of each result, and of the machine."""

    name = "json"

    def write(self, results: Sequence[Result], path: Path) -> None:
        """One JSON object."""
        from oom_suite.report.files import write

        write(results, path)


class HtmlReporter:
    """A page with a chart, the blamed lines shown in their source."""

    name = "html"

    def write(self, results: Sequence[Result], path: Path) -> None:
        """One page without anything beside it."""
        from oom_suite.report.html import read_sources, write_check_page
        from oom_suite.subjects import source_folders

        write_check_page(results, path, read_sources(results, source_folders))


@hookimpl
def oom_reporters() -> list[Reporter]:
    """JSON and HTML."""
    return [JsonReporter(), HtmlReporter()]
