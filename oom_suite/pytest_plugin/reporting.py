"""Takes results from the tests to the summary and the JSON file, across pytest-xdist's workers."""

from __future__ import annotations

import base64
import io
import os
import pickle
import time
from typing import TYPE_CHECKING

import pytest

from oom_suite.records import Verdict
from oom_suite.report.files import results_body
from oom_suite.report.output import Output
from oom_suite.report.rows import printable
from oom_suite.report.wording import closing_line, target_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oom_suite.pytest_plugin.options import Options
    from oom_suite.records import Result

_REST = 20
"""How many times as long as a write took nothing is written after it."""
_UNFINISHED = frozenset({pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR})
_RESULTS = "oom_results"
_WORD = "oom_word"


def attach(report: pytest.TestReport, results: Sequence[Result]) -> None:
    """Nothing; afterwards the report carries the results, from a worker too."""
    fields = vars(report)
    fields[_RESULTS] = base64.b64encode(pickle.dumps(list(results))).decode("ascii")
    fields[_WORD] = _word(results)


def attached(report: pytest.TestReport) -> list[Result]:
    """The results that the report carries. They come from this very run's own workers."""
    text = vars(report).get(_RESULTS)
    if text is None:
        return []
    results: list[Result] = pickle.loads(base64.b64decode(text))
    return results


def word(report: pytest.CollectReport | pytest.TestReport) -> str:
    """What a passed test has to add: the known bug that its expected failure reproduces."""
    added: str = vars(report).get(_WORD, "")
    return added


def _word(results: Sequence[Result]) -> str:
    notes = [note for r in results if r.verdict is Verdict.FAIL for note in r.notes]
    return next((note for note in notes if note.startswith("reproduces ")), "")


def properties(results: Sequence[Result]) -> list[tuple[str, object]]:
    """The results as JUnit properties, which a CI's own pages show."""
    found: list[tuple[str, object]] = []
    for result in results:
        found += [("oom_verdict", result.verdict.value), ("oom_reason", printable(result.reason))]
        if result.law is not None:
            found.append(("oom_law", str(result.law.here)))
        if result.peak_requested_bytes is not None:
            found.append(("oom_peak_requested_bytes", result.peak_requested_bytes))
        found += [(f"oom_{each.kind}_host_law", str(each.law.here)) for each in result.host]
    return found


class Reporter:
    """Gathers the distinct results of a whole run, and reports them where it was started."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self._config = config
        self._options = options
        self._results: dict[tuple[str, str, str, str], Result] = {}
        self._left_out: dict[str, int] = {}
        self._problem = ""
        self._output = Output(
            options.json, lambda: results_body(self._sorted()), say=self._cannot_write
        )
        self._keep_at = 0.0

    def _cannot_write(self, error: object) -> None:
        self._problem = str(error)

    def pytest_sessionstart(self) -> None:
        """Begin the file that was asked for: an older one is not taken for this run's."""
        self._output.keep()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a report's results, and remember what was left out for want of a GPU."""
        for result in attached(report):
            key = (result.subject, result.workload, result.lane, result.target)
            if key not in self._results:
                self._results[key] = result
                self._keep()
                self._config.hook.pytest_oom_result(result=result)
        if report.skipped and "oom_device" in report.keywords and report.when == "setup":
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            reason = reason.removeprefix("Skipped: ")
            self._left_out[reason] = self._left_out.get(reason, 0) + 1

    def _keep(self) -> None:
        """Write what is known by now, unless writing would become most of what the run does."""
        began = time.monotonic()
        if began >= self._keep_at:
            self._output.keep()
            ended = time.monotonic()
            self._keep_at = ended + _REST * (ended - began)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write the results to the file that was asked for, whatever they are."""
        self._problem = ""
        if exitstatus in _UNFINISHED:
            self._output.keep()
        else:
            self._output.finish()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the table of the results, and what was left out."""
        results = self._sorted()
        path = self._options.json
        if not (results or self._left_out or path):
            return
        terminalreporter.write_sep("=", "oom_suite")
        for (workload, lane), group in _groups(results).items():
            terminalreporter.write_line(f"workload {workload}, lane {lane}:")
            for line in _table_lines(group, terminalreporter):
                terminalreporter.write_line(line)
        for line in target_lines(results):
            terminalreporter.write_line(line)
        if results:
            terminalreporter.write_line(closing_line(results))
        for reason, num_tests in self._left_out.items():
            plural = "" if num_tests == 1 else "s"
            terminalreporter.write_line(f"left out: {num_tests} device test{plural}, {reason}")
        if path is not None:
            written = f"results written to {path}"
            terminalreporter.write_line(printable(self._problem or written))

    def _sorted(self) -> list[Result]:
        """The results as a single process would have judged them: pytest-xdist has no order."""
        order = {subject: index for index, subject in enumerate(self._options.subjects)}

        def key(result: Result) -> tuple[str, bool, int, str]:
            place = order.get(result.subject, len(order))
            return (result.workload, result.lane != "shadow", place, result.subject)

        return sorted(self._results.values(), key=key)


def _groups(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.workload, result.lane), []).append(result)
    return groups


def _table_lines(results: Sequence[Result], terminalreporter: pytest.TerminalReporter) -> list[str]:
    from rich.console import Console

    from oom_suite.report.terminal import PIPED_WIDTH, print_table

    # pytest takes 80 where it sees neither a terminal nor COLUMNS.
    seen = terminalreporter.isatty or os.environ.get("COLUMNS", "").isdigit()
    width = terminalreporter.config.get_terminal_writer().fullwidth if seen else PIPED_WIDTH
    sink = io.StringIO()
    print_table(results, Console(file=sink, force_terminal=False, width=width))
    return sink.getvalue().rstrip().splitlines()
