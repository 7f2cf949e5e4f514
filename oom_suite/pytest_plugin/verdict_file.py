"""What each test of a run says, as one JSON file: for a search that runs a test at many commits.

A plugin of its own, which ``oom-suite probe --test`` names by ``-p``: no other run has it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oom_suite.errors import ContractError
from oom_suite.pipeline.commits.pytest_test import (
    INSTEAD_OF,
    VERDICT_FILE,
    live_with_the_search,
)
from oom_suite.pytest_plugin.reporting import attached
from oom_suite.records import Result, Verdict
from oom_suite.report.rows import printable

if TYPE_CHECKING:
    from collections.abc import Generator

_SAID = "oom_said"
_NO_VERDICT = (ImportError, SyntaxError)
"""What a test raises that could not be run: the code is not all there."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach what this phase of a test says, where it says anything."""
    del item
    report = yield
    verdict, reason = _said(report, call)
    if verdict is not None:
        vars(report)[_SAID] = (verdict.value, reason)
    return report


def _said(report: pytest.TestReport, call: pytest.CallInfo[None]) -> tuple[Verdict | None, str]:
    error = None if call.excinfo is None else call.excinfo.value
    if report.skipped:
        return Verdict.INCONCLUSIVE, "it was skipped, or is expected to fail"
    if report.passed:
        return (Verdict.PASS, "it passes") if report.when == "call" else (None, "")
    reason = _line(error)
    if report.when != "call" or isinstance(error, _NO_VERDICT):
        return Verdict.INCONCLUSIVE, reason if report.when == "call" else f"{report.when}: {reason}"
    if isinstance(error, ContractError):
        is_open = str(error).startswith(Verdict.INCONCLUSIVE.value)
        verdict = Verdict.INCONCLUSIVE if is_open else Verdict.FAIL
        shown = error.result.reason if isinstance(error.result, Result) else reason
        return verdict, printable(shown)
    return Verdict.FAIL, reason


def _line(error: BaseException | None) -> str:
    if error is None:
        return "it fails"
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    return printable(f"{type(error).__name__}: {first.strip()}" if first else type(error).__name__)


class _Gathering:
    """Writes what all tests of a run say when it ends."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._tests: dict[str, list[tuple[str, str]]] = {}
        self._results: dict[str, list[dict[str, Any]]] = {}
        self._problem = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if _SAID in vars(report):
            self._tests.setdefault(report.nodeid, []).append(vars(report)[_SAID])
        if results := attached(report):
            shown = [result.to_json() for result in results]
            self._results.setdefault(report.nodeid, []).extend(shown)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self._problem:
            lines = [line.strip() for line in str(report.longrepr).splitlines() if line.strip()]
            raised = [line for line in lines if line.startswith("E ")]
            shown = (raised or lines or ["no message"])[-1].removeprefix("E ").strip()
            self._problem = printable(f"{report.nodeid} cannot be collected: {shown}")

    def pytest_sessionfinish(self) -> None:
        body = {
            "tests": self._tests,
            "results": self._results,
            "problem": self._problem or _from_elsewhere(os.environ.get(INSTEAD_OF, "")),
        }
        Path(self._file).write_text(json.dumps(body), encoding="utf-8")


def _from_elsewhere(folder: str) -> str:
    """Which module came from the working tree though a commit is judged; empty where none did."""
    if not folder:
        return ""
    from oom_suite.errors import SubjectError
    from oom_suite.subjects.source import refuse_modules_of

    try:
        refuse_modules_of(Path(folder))
    except SubjectError as error:
        return str(error)
    return ""


def pytest_configure(config: pytest.Config) -> None:
    """Gather where the run was started; a worker of pytest-xdist sends its reports there."""
    live_with_the_search()
    # No byte code of one commit is left for the next.
    sys.dont_write_bytecode = True
    file = os.environ.get(VERDICT_FILE, "")
    if file and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Gathering(file), "oom_suite_verdict_file")
