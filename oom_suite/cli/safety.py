"""`oom-suite check --safety`: a verdict for each property of each subject."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from oom_suite.cli.progress import Progress
from oom_suite.cli.settings import read_memory_limit
from oom_suite.doors import workload as find_workload
from oom_suite.pipeline.safety_checks.check import SafetySettings, check_safety_all, exit_code
from oom_suite.report.output import Output
from oom_suite.report.safety import render_safety
from oom_suite.report.screen import screen
from oom_suite.subjects import builtin_names
from oom_suite.targets.target import target as find_target

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from oom_suite.records.safety import SafetyReport


def read_safety_settings(
    workload: str, device: str, target: str, time_limit_s: float, memory_limit: str | None
) -> SafetySettings:
    """The settings that these options spell.

    Raises:
        UsageError: one of them is not understood.
    """
    return SafetySettings(
        workload=find_workload(workload).name,
        device=device,
        arch=find_target(target).arch or "generic",
        time_limit_s=time_limit_s,
        memory_limit_bytes=read_memory_limit(memory_limit),
    )


def run_safety(
    subjects: Sequence[str] | None, settings: SafetySettings, json: Path | None, *, quiet: bool
) -> int:
    """The exit code, after the subjects were checked and shown.

    Raises:
        UsageError: a subject's spelling cannot be read.
    """
    reports: list[SafetyReport] = []

    def body() -> dict[str, Any]:
        found = [report.to_json() for report in list(reports)]
        return {"safety": found, "not_judged": ["growth"]}

    with Output(json, body) as output:
        with Progress(quiet=quiet) as progress:

            def on_report(report: SafetyReport) -> None:
                reports.append(report)
                output.keep()
                progress.done(report.subject, f"checked {report.subject}: {_counted(report)}")

            in_order = check_safety_all(
                subjects or list(builtin_names()),
                settings,
                on_progress=progress.update,
                on_report=on_report,
            )
        reports[:] = in_order
        render_safety(reports, screen(), quiet=quiet)
        output.finish()
    return exit_code(reports)


def _counted(report: SafetyReport) -> str:
    """How many properties there are of each verdict, for example ``6 PASS, 1 FAIL``."""
    counts = Counter(one.verdict.value for one in report.findings)
    return ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
