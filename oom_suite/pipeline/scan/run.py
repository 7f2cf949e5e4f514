"""Runs units of a scan, each by itself; what a unit does never makes it raise."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from oom_suite.doors import workload as find_workload
from oom_suite.pipeline.check import check
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S, Settings, silent
from oom_suite.processes.child_main import Outcome
from oom_suite.processes.ending import threads
from oom_suite.records import Verdict
from oom_suite.records.scan import Found, ScanRow
from oom_suite.subjects import family_of, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oom_suite.pipeline.settings import OnProgress
    from oom_suite.records import Law, Result, Workload
    from oom_suite.records.scan import Unit

    OnRow = Callable[[ScanRow, str], None]

_ABSENT = f"{Outcome.NOT_APPLICABLE.value}: "
"""How the reason begins where a subject has no code for a workload."""


def run_units(
    units: Sequence[Unit],
    num_jobs: int,
    on_row: OnRow,
    on_progress: OnProgress = silent,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
) -> list[ScanRow]:
    """The rows of these units, in their order.

    Args:
        units: from `oom_suite.pipeline.scan.units.units_of`.
        num_jobs: how many run at once, each in processes of its own.
        on_row: given each row, on the thread that found it, and "", for this machine.
        on_progress: given what each unit is doing.
        time_limit_s: seconds that one run of a unit may take.
    """

    def one(unit: Unit) -> ScanRow:
        row = run_unit(unit, on_progress, time_limit_s)
        on_row(row, "")
        return row

    with threads(min(num_jobs, len(units))) as pool:
        return list(pool.map(one, units))


def run_unit(
    unit: Unit,
    on_progress: OnProgress = silent,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
    usual_targets: tuple[str, ...] = (),
) -> ScanRow:
    """The row of a unit, whatever its code does.

    Args:
        unit: what is judged.
        on_progress: given what it is doing.
        time_limit_s: seconds that one run may take.
        usual_targets: as of `Settings.usual_targets`.
    """
    began = time.monotonic()
    workload = find_workload(unit.workload)
    settings = Settings(
        scenario=unit.scenario,
        sizes=workload.scenario(unit.scenario).sizes,
        workload=workload,
        target=unit.target,
        time_limit_s=time_limit_s,
        usual_targets=usual_targets,
    )
    report = functools.partial(_under, unit, on_progress)
    result = check(parse(unit.subject), settings, report).result
    return row_of(unit, workload, result, round(time.monotonic() - began, 3))


def _under(unit: Unit, on_progress: OnProgress, subject: str, message: str) -> None:
    """Progress of one unit among many of the same subject."""
    on_progress(f"{subject} ({unit.workload})", message)


def row_of(unit: Unit, workload: Workload, result: Result, elapsed_s: float) -> ScanRow:
    """What a table shows of a result.

    Args:
        unit: what was judged.
        workload: the unit's.
        result: the verdict on it.
        elapsed_s: seconds that judging took.
    """
    is_absent = result.reason.startswith(_ABSENT)
    law = result.law
    return ScanRow(
        unit=unit,
        found=Found.ABSENT if is_absent else Found(result.verdict.value),
        reason=result.reason.removeprefix(_ABSENT),
        law="" if law is None else str(law.here),
        regimes=() if law is None else tuple(map(str, law.regimes)),
        peak_bytes=result.peak_requested_bytes,
        by_design=_by_design(workload, law) if law and result.verdict is Verdict.PASS else {},
        where=next((f"{one.file}:{one.line} ({one.function})" for one in result.blame), ""),
        notes=family_of(parse(unit.subject)).notes(parse(unit.subject)) if law else (),
        next_command=result.next_command,
        elapsed_s=elapsed_s,
    )


def _by_design(workload: Workload, law: Law) -> dict[str, str]:
    """The capacities that the law grows with and that the workload allows for."""
    return {axis: why for axis, why in workload.by_design.items() if axis in law.axes}
