"""The reporters of the suite itself, and those that a command line asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from oom_suite import doors
from oom_suite.errors import OomSuiteError, UsageError, unknown
from oom_suite.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def read_reports(asked: Sequence[str] | None) -> list[tuple[Reporter, Path]]:
    """The reporters that ``--report NAME=FILE`` asks for, each with its file.

    Raises:
        UsageError: an unknown reporter, or no file.
    """
    found = []
    for text in asked or ():
        name, _, file = text.partition("=")
        known = doors.reporters()
        if name not in known:
            raise unknown("reporter", name, known)
        if not file:
            raise UsageError(f"--report {text!r} is not NAME=FILE; write it like {name}=FILE")
        found.append((known[name], Path(file)))
    return found


def write_reports(reports: Sequence[tuple[Reporter, Path]], results: Sequence[Result]) -> None:
    """Have each reporter write the results to its file.

    Raises:
        UsageError: a reporter raised; the message names it.
    """
    for reporter, path in reports:
        try:
            reporter.write(results, path)
        except OomSuiteError:
            raise
        except Exception as error:
            msg = (
                f"the reporter {reporter.name!r} cannot write {str(path)!r}: "
                f"{type(error).__name__}: {error}"
            )
            raise UsageError(msg) from error
