"""The reporters of the suite itself, and those that a command line asks for."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from oom_suite import doors
from oom_suite.cli.checked import refuse_output, refuse_page
from oom_suite.errors import OomSuiteError, UsageError, unknown
from oom_suite.hookspecs import hookimpl
from oom_suite.report.screen import say_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import typer

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


def read_reports(
    context: typer.Context, asked: Sequence[str] | None
) -> list[tuple[Reporter, Path]]:
    """The reporters that ``--report NAME=FILE`` asks for, each with its file.

    Args:
        context: knows where other options write.
        asked: the values of the option.

    Raises:
        UsageError: an unknown reporter, no file, or one that cannot be written.
    """
    found = []
    for text in asked or ():
        name, _, file = text.partition("=")
        known = doors.reporters()
        if name not in known:
            raise unknown("reporter", name, known)
        if not file:
            raise UsageError(f"--report {text!r} is not NAME=FILE; write it like {name}=FILE")
        reporter = known[name]
        if isinstance(reporter, HtmlReporter):
            refuse_page(f"--report {name}")
        refuse_output(context, f"--report {name}", Path(file))
        found.append((reporter, Path(file)))
    return found


@contextlib.contextmanager
def kept_reports(
    reports: Sequence[tuple[Reporter, Path]], results: Sequence[Result]
) -> Iterator[None]:
    """Nothing; afterwards each reporter has written the results, those so far of an interrupt.

    A reporter that cannot is one line on standard error: the exit code is the verdict's.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException:
        _write(reports, list(results))
        raise
    _write(reports, list(results))


def _write(reports: Sequence[tuple[Reporter, Path]], results: Sequence[Result]) -> None:
    for reporter, path in reports:
        try:
            reporter.write(results, path)
        except OomSuiteError as error:
            say_error(error)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            say_error(f"the reporter {reporter.name!r} cannot write {str(path)!r}: {what}")
