"""`oom-suite check --safety`: a verdict for each property of each subject."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from oom_suite.cli.progress import Progress
from oom_suite.doors import workload as find_workload
from oom_suite.errors import UsageError
from oom_suite.pipeline.safety_checks.check import SafetySettings, check_safety_all, exit_code
from oom_suite.report.files import write_body
from oom_suite.report.safety import render_safety
from oom_suite.report.screen import screen
from oom_suite.subjects import builtin_names
from oom_suite.targets.target import target as find_target
from oom_suite.units import parse_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from oom_suite.records.safety import SafetyReport

TAKES = "--device, --target, --workload, --time-limit, --memory-limit, --json and --quiet"


def read_safety_settings(
    workload: str, device: str, target: str, time_limit_s: float, memory_limit: str | None
) -> SafetySettings:
    """The settings that these options spell.

    Raises:
        UsageError: one of them is not understood.
    """
    if device.partition(":")[0] not in {"cpu", "cuda"}:
        msg = f"device {device!r} cannot be checked: choose cpu or cuda (HIP devices are cuda)"
        raise UsageError(msg)
    return SafetySettings(
        workload=find_workload(workload).name,
        device=device,
        arch=find_target(target).arch or "generic",
        time_limit_s=time_limit_s,
        memory_limit_bytes=None if memory_limit is None else parse_bytes(memory_limit),
    )


def refuse_others(given: Mapping[str, bool]) -> None:
    """Nothing, where no option was given that means nothing to a safety check.

    Args:
        given: whether each such option was given, by its name.

    Raises:
        UsageError: one was.
    """
    for name, is_given in given.items():
        if is_given:
            msg = f"{name} means nothing with --safety, which takes {TAKES}: leave it out"
            raise UsageError(msg)


def run_safety(
    subjects: Sequence[str] | None, settings: SafetySettings, json: Path | None, *, quiet: bool
) -> int:
    """The exit code, after the subjects were checked and shown.

    Raises:
        UsageError: a subject's spelling cannot be read, or the file cannot be written.
    """
    done: list[SafetyReport] = []
    turn = threading.Lock()
    with Progress(quiet=quiet) as progress:

        def on_report(report: SafetyReport) -> None:
            with turn:
                done.append(report)
                progress.done(report.subject, f"checked {report.subject}: {_counted(report)}")
                # What is done is not lost when the rest is interrupted; a pipe has it once.
                if json is not None and (json.is_file() or not json.exists()):
                    _write(done, json)

        reports = check_safety_all(
            subjects or list(builtin_names()),
            settings,
            on_progress=progress.update,
            on_report=on_report,
        )
    render_safety(reports, screen(), quiet=quiet)
    _write(reports, json)
    return exit_code(reports)


def _counted(report: SafetyReport) -> str:
    """How many properties there are of each verdict, for example ``6 PASS, 1 FAIL``."""
    counts = Counter(one.verdict.value for one in report.findings)
    return ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())


def _write(reports: Sequence[SafetyReport], json: Path | None) -> None:
    if json is not None:
        body = {"safety": [report.to_json() for report in reports], "not_judged": ["growth"]}
        write_body(body, json)
