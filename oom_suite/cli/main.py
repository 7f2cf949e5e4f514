"""The command line: check, the commands of the modules beside, and those of plugins."""

from __future__ import annotations

import copy
import os
import sys
from collections import Counter
from dataclasses import replace
from importlib import metadata
from typing import Annotated, Any, NoReturn

import typer

from oom_suite import doors
from oom_suite.cli import (
    bench,
    bisect,
    compare,
    conformance,
    covers,
    doctor,
    law,
    lock,
    measure,
    probe,
    ranks,
    replay,
    scan,
    selfcheck,
)
from oom_suite.cli.effects import Command
from oom_suite.cli.options import (
    BudgetText,
    Device,
    EveryWorkload,
    Html,
    Json,
    Lane,
    Locked,
    LockFile,
    MemoryLimit,
    Package,
    Quiet,
    Repeat,
    Report,
    Safety,
    Scenario,
    Set,
    Stub,
    Subjects,
    Targets,
    TimeLimit,
    Unexplained,
)
from oom_suite.cli.progress import Progress
from oom_suite.cli.reporters import HtmlReporter, kept_reports, read_reports
from oom_suite.cli.safety import read_safety_settings, run_safety
from oom_suite.cli.settings import (
    first_workload,
    one_target,
    read_settings,
    read_target_cases,
    read_targets,
    spelled,
    target_of_lock,
)
from oom_suite.errors import OomSuiteError, UsageError
from oom_suite.laws.lockfile import DEFAULT_FILE
from oom_suite.pipeline import locked
from oom_suite.pipeline.check import check_cases, exit_code
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S, Settings
from oom_suite.processes.ending import Interrupted, heard_signals, leave
from oom_suite.records import Result
from oom_suite.records.lock import Difference
from oom_suite.report.files import results_body
from oom_suite.report.lock_diff import render_differences
from oom_suite.report.output import Output
from oom_suite.report.screen import say, say_error, screen
from oom_suite.report.terminal import render

EXIT_USAGE = 2
_UnreadableError: Any = typer.BadParameter.__base__
"""What typer raises for a command line that it cannot read: click's, or a copy of its own."""
_GRACE_S = 0.5
"""Seconds that threads have after an interrupt to remove their temporary files."""

app = typer.Typer(
    name="oom-suite",
    help="Proves how the peak memory of tensor code depends on each size.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _say_version(asked: bool) -> None:
    if asked:
        say(f"oom-suite {metadata.version('oom-suite')}")
        raise typer.Exit


@app.callback()
def oom_suite_command(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="say the version", callback=_say_version, is_eager=True),
    ] = False,
) -> None:
    """Proves how the peak memory of tensor code depends on each size."""


@app.command("check")
def check_command(
    context: typer.Context,
    subjects: Subjects = None,
    *,
    scenario: Scenario = None,
    sizes: Set = None,
    workload: EveryWorkload = None,
    lane: Lane = "shadow",
    device: Device = "cpu",
    target: Targets = None,
    budget: BudgetText = None,
    time_limit: TimeLimit = DEFAULT_TIME_LIMIT_S,
    memory_limit: MemoryLimit = None,
    json: Json = None,
    html: Html = None,
    quiet: Quiet = False,
    unexplained: Unexplained = "0",
    repeat: Repeat = 1,
    against_lock: Locked = False,
    file: LockFile = DEFAULT_FILE,
    safety: Safety = False,
    stub: Stub = None,
    package: Package = None,
    report: Report = None,
) -> None:
    """Judge subjects: their law, their peak, the contract, the budget, the line to blame.

    Exits 0 when all are as expected, 1 when a contract is broken or a locked law grew, 2 on
    bad usage, 3 when a subject cannot be judged or has no locked law.
    """
    named = spelled(subjects, stub, package)
    if safety:
        name = first_workload(workload, named)
        chosen = read_safety_settings(name, device, one_target(target), time_limit, memory_limit)
        raise typer.Exit(run_safety(named, chosen, json, quiet=quiet))
    reports = read_reports(context, report)
    if html is not None:
        reports.append((HtmlReporter(), html))
    targets = (target_of_lock(target, file),) if against_lock else read_targets(target)

    def settings_for(name: str, for_target: str = targets[0]) -> Settings:
        settings = read_settings(
            scenario,
            sizes or [],
            name,
            lane,
            device,
            for_target,
            budget,
            time_limit,
            memory_limit,
            unexplained,
        )
        return replace(settings, num_repeats=repeat)

    if against_lock:
        names = locked.locked_workloads(workload, file)
        chosen_for = {name: settings_for(name) for name in names}
    else:
        cases = read_target_cases(named, workload, settings_for, targets, scenario, sizes or ())

    results: list[Result] = []
    differences: list[Difference] = []

    def body() -> dict[str, Any]:
        return results_body(list(results), differences if against_lock else None)

    with Output(json, body) as output, kept_reports(reports, results):
        with Progress(quiet=quiet) as progress:

            def on_result(result: Result) -> None:
                results.append(result)
                output.keep()
                progress.finish(result)

            if against_lock:
                in_order, differences = locked.check_locked_workloads(
                    subjects and named, chosen_for, file, progress.update, on_result
                )
            else:
                studies = check_cases(cases, progress.update, on_result)
                in_order = [study.result for study in studies]
        results[:] = in_order
        render(results, screen(), quiet=quiet)
        if against_lock:
            render_differences(differences, screen(), quiet=quiet)
        output.finish()
    raise typer.Exit(locked.worst(exit_code(results), locked.exit_code(differences)))


bench.register(app)
bisect.register(app)
conformance.register(app)
covers.register(app)
doctor.register(app)
law.register(app)
lock.register(app)
measure.register(app)
probe.register(app)
compare.register(app)
ranks.register(app)
replay.register(app)
scan.register(app)
selfcheck.register(app)


def _with_plugins() -> typer.Typer:
    """The command line with the commands that plugins add.

    Raises:
        UsageError: a plugin cannot be used, or two commands have one name.
    """
    whole = copy.copy(app)
    whole.registered_commands = [*app.registered_commands]
    whole.registered_groups = [*app.registered_groups]
    doors.add_commands(whole)
    names = Counter(command.name for command in whole.registered_commands)
    for name, number in names.items():
        if number > 1:
            msg = f"there are {number} commands of the name {name!r}: rename the one of a plugin"
            raise UsageError(msg)
    # A copy each: what the commands were declared as belongs to whoever declared them.
    whole.registered_commands = [copy.copy(command) for command in whole.registered_commands]
    for command in whole.registered_commands:
        command.cls = Command
    return whole


def main() -> NoReturn:
    """Run the command line; an error of the suite is one line and exit code 2."""
    code = 0
    try:
        with heard_signals():
            code = _with_plugins()(prog_name="oom-suite", standalone_mode=False) or 0
    except _UnreadableError as error:
        _refuse(error)
    except OomSuiteError as error:
        say_error(error)
        sys.exit(_usage_code())
    except Interrupted as error:
        if not ranks.is_spoken_for(sys.argv[1:], os.environ):
            say_error(error)
        leave(error.exit_code, _GRACE_S)
    sys.exit(code)


def _refuse(error: Any) -> NoReturn:
    """End with one line for what typer cannot read, or its help where nothing was asked for."""
    context = error.ctx
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        where = "oom-suite" if context is None else context.command_path
        say_error(f"{error.format_message().rstrip('.')}; see {where} --help")
    sys.exit(_usage_code())


def _usage_code() -> int:
    """The exit code of words that cannot be read; git takes 2 for a verdict on the commit."""
    return probe.usage_code() if sys.argv[1:2] == ["probe"] else EXIT_USAGE
