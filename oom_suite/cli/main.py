"""The command line: check, the commands of the modules beside, and those of plugins."""

from __future__ import annotations

import copy
import sys
from collections import Counter
from dataclasses import replace
from typing import NoReturn

import typer

from oom_suite import doors
from oom_suite.cli import (
    bisect,
    compare,
    conformance,
    doctor,
    law,
    lock,
    measure,
    probe,
    ranks,
    replay,
    selfcheck,
)
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
from oom_suite.cli.reporters import read_reports, write_reports
from oom_suite.cli.safety import read_safety_settings, refuse_others, run_safety
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
from oom_suite.pipeline.commits.probe import EXIT_SKIP
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S, Settings
from oom_suite.processes.ending import Interrupted, heard_signals, leave
from oom_suite.records.lock import Difference
from oom_suite.report.files import write as write_json
from oom_suite.report.lock_diff import render_differences
from oom_suite.report.screen import say_error, screen
from oom_suite.report.terminal import render

EXIT_USAGE = 2
_GRACE_S = 0.5
"""Seconds that threads have after an interrupt to remove their temporary files."""

app = typer.Typer(
    name="oom-suite",
    help="Proves how the peak memory of tensor code depends on each size.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command("check")
def check_command(
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
        others = {
            "--scenario": scenario is not None,
            "--set": bool(sizes),
            "--lane": lane != "shadow",
            "--budget": budget is not None,
            "--html": html is not None,
            "--report": bool(report),
            "--locked": against_lock,
            "--unexplained": unexplained != "0",
            "--repeat": repeat != 1,
        }
        refuse_others(others)
        name = first_workload(workload, named)
        chosen = read_safety_settings(name, device, one_target(target), time_limit, memory_limit)
        raise typer.Exit(run_safety(named, chosen, json, quiet=quiet))
    if repeat != 1 and lane != "measure":
        msg = f"--repeat {repeat} needs the measure lane: add --lane measure"
        raise UsageError(msg)
    if file != DEFAULT_FILE and not against_lock:
        msg = f"--file {file!r} names the lockfile that --locked compares with: add --locked"
        raise UsageError(msg)

    reports = read_reports([*(report or ()), *([f"html={html}"] if html else [])])

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

    differences: list[Difference] = []
    with Progress(quiet=quiet) as progress:
        if against_lock:
            results, differences = locked.check_locked_workloads(
                subjects and named, workload, settings_for, file, progress.update, progress.finish
            )
        else:
            cases = read_target_cases(named, workload, settings_for, targets, scenario, sizes or ())
            studies = check_cases(cases, progress.update, progress.finish)
            results = [study.result for study in studies]
    render(results, screen(), quiet=quiet)
    if against_lock:
        render_differences(differences, screen(), quiet=quiet)
    if json is not None:
        write_json(results, json, differences if against_lock else None)
    write_reports(reports, results)
    raise typer.Exit(locked.worst(exit_code(results), locked.exit_code(differences)))


bisect.register(app)
conformance.register(app)
doctor.register(app)
law.register(app)
lock.register(app)
measure.register(app)
probe.register(app)
compare.register(app)
ranks.register(app)
replay.register(app)
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
    return whole


def main() -> NoReturn:
    """Run the command line; an error of the suite is one line and exit code 2."""
    try:
        with heard_signals():
            _with_plugins()()
    except OomSuiteError as error:
        say_error(error)
        # What cannot even start says nothing of the commit that git asks about.
        sys.exit(EXIT_SKIP if sys.argv[1:2] == ["probe"] else EXIT_USAGE)
    except Interrupted as error:
        say_error(error)
        leave(error.exit_code, _GRACE_S)
    sys.exit(0)
