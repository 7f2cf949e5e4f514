"""The pytest plugin: options, markers, the fixtures, and what the run says at the end.

Importing it does not import torch, so that pytest starts as fast as without it.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from oom_suite.errors import ContractError
from oom_suite.processes import ending
from oom_suite.pytest_plugin import devices, hookspecs
from oom_suite.pytest_plugin.judging import OomCheck
from oom_suite.pytest_plugin.memory_law import OomLaw, refuse_bad_declarations
from oom_suite.pytest_plugin.options import Options, declare, missing_gpu, resolve
from oom_suite.pytest_plugin.reporting import Reporter, attach, properties, word
from oom_suite.records import Result
from oom_suite.report.rows import printable

if TYPE_CHECKING:
    from collections.abc import Generator

    from _pytest._code.code import TerminalRepr

__all__ = ["OPTIONS", "OomCheck", "OomLaw", "Options", "oom_check", "oom_law"]

OPTIONS = pytest.StashKey[Options]()
"""Where `pytest.Config.stash` keeps what the options ask for."""

_CHECK = pytest.StashKey[OomCheck]()
_MARKERS = (
    "oom_device: needs a GPU; where there is none it is skipped, and the summary says so",
    "oom_registry: needs the package registry (fetches releases)",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    declare(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options, before anything is collected.

    Raises:
        pytest.UsageError: a value cannot be used.
    """
    # Another run in this very process may have been interrupted.
    ending.begin_again()
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    config.stash[OPTIONS] = options = resolve(config)
    config.stash[_CHECK] = OomCheck(options)
    # In a worker of pytest-xdist the run is reported elsewhere: where it was started.
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(devices.Worker(config), "oom_suite_worker")
    else:
        config.pluginmanager.register(devices.Workers(options.device), "oom_suite_workers")
        config.pluginmanager.register(Reporter(config, options), "oom_suite_reporter")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """One worker for each GPU where GPUs are measured; what pytest-xdist says otherwise."""
    return devices.num_workers(config)


def pytest_report_header(config: pytest.Config) -> str:
    """Say what would be judged, and how."""
    options = config.stash[OPTIONS]
    lanes = ", ".join(options.lanes) + (f" on {options.device}" if options.device else "")
    budget = f"; budget {options.budget.name}" if options.budget else ""
    return (
        f"oom_suite: subjects {', '.join(options.subjects)}; scenario {options.scenario.name}; "
        f"lanes {lanes}{budget}"
    )


@pytest.fixture(scope="session")
def oom_check(pytestconfig: pytest.Config) -> OomCheck:
    """A function that fails the test unless a subject keeps its contract; its result if it does.

    `OomCheck.judge` gives the result either way. Each subject, workload and lane is judged once
    a session (once a worker under pytest-xdist).
    """
    return pytestconfig.stash[_CHECK]


@pytest.fixture
def oom_law(request: pytest.FixtureRequest) -> OomLaw:
    """A function that fails the test unless ``build(sizes, device)`` keeps its promises.

    It takes what `oom_suite.memory_law` takes: ``oom_law(build, axes={"num_tokens": 4},
    at_most="1KiB*num_tokens")``. `OomLaw.judge` gives the result either way.
    """
    config = request.config
    return OomLaw(request.node, config.stash[OPTIONS], config.stash[_CHECK].note)


def pytest_keyboard_interrupt() -> None:
    """End every child, though a thread may wait for its answer: nobody waits for that thread."""
    ending.end_all(signal.SIGINT)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse `memory_law` tests that cannot be read, before anything runs.

    Raises:
        pytest.UsageError: one cannot; one line says which, and what to write.
    """
    refuse_bad_declarations(items)


# First: no fixture is to meet a device that is not there.
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what needs a GPU where there is none, with the reason."""
    if item.get_closest_marker("oom_device") and (reason := missing_gpu()):
        reason += devices.of_worker(item.config)
        if devices.is_gpu(item.config.stash[OPTIONS].device):
            # It was there where the run was started: this worker's alone is lost.
            pytest.fail(f"the GPU cannot be used: {reason}", pytrace=False)
        pytest.skip(f"needs a GPU: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the results that the test asked for; show a broken contract in the suite's words."""
    asked = item.config.stash[_CHECK].take_asked()
    item.user_properties += properties(asked)
    if call.when == "call":
        item.user_properties += devices.gpu_properties(item, asked)
    report = yield
    if asked:
        attach(report, asked)
    if call.excinfo is not None and isinstance(call.excinfo.value, ContractError):
        report.longrepr = _in_our_words(call.excinfo, call.excinfo.value)
    return report


def _in_our_words(
    excinfo: pytest.ExceptionInfo[BaseException], error: ContractError
) -> TerminalRepr:
    """The error's text alone: frames of the suite say nothing about the code under test."""
    shown = excinfo.getrepr(style="value")
    if isinstance(error.result, Result) and shown.reprcrash is not None:
        # What pytest repeats in its short summary and JUnit as the message.
        shown.reprcrash.message = f"{error.result.verdict.value}: {printable(error.result.reason)}"
    return shown


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, str] | None:
    """Say in verbose output that a gate test passed because a known bug was found again."""
    added = word(report)
    if report.when == "call" and report.outcome == "passed" and added:
        return "passed", ".", f"PASSED ({added})"
    return None
