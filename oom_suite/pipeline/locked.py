"""Laws against the lockfile: entries made from studies, and how subjects differ from theirs."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.errors import UsageError
from oom_suite.laws.judge import what_was_not_recorded
from oom_suite.laws.lines import with_lines
from oom_suite.laws.lockfile import DEFAULT_FILE, compare, read
from oom_suite.pipeline.law_page import FullStudy, full_studies
from oom_suite.records.lock import Change, Difference, Entry
from oom_suite.targets.default import default_target
from oom_suite.targets.target import target
from oom_suite.targets.versions import environment
from oom_suite.workloads.sparse_mla.workload import DECODE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from oom_suite.pipeline.settings import OnProgress, Settings
    from oom_suite.records import Law, Result
    from oom_suite.records.lock import Key


def entry_of(found: FullStudy, settings: Settings) -> Entry | None:
    """What the lockfile keeps of a study; None where no law was found."""
    study = found.study
    if study.derivation is None:
        return None
    versions = environment()
    return Entry(
        subject=study.result.subject,
        workload=settings.workload.name,
        arch=settings.arch,
        scenario=settings.scenario,
        law=_in_order(study.derivation.law),
        elsewhere=tuple(_in_order(change.law) for change in study.derivation.elsewhere),
        scenario_bytes=found.scenario_bytes,
        # A build's own suffix (+cpu, +rocm7.0) changes no law.
        versions={
            name: str(versions[name] or "unknown").partition("+")[0]
            for name in ("oom_suite", "torch")
        },
    )


def _in_order(law: Law) -> Law:
    """The law with its formulas in an order that no run can change: the winner first."""
    order = (*law.sizes, *sorted(law.axes - law.sizes.keys()))
    values = {**dict.fromkeys(order, 0), **law.sizes}
    regimes = sorted(
        (replace(regime, order=order) for regime in law.regimes),
        key=lambda regime: (-regime(values), str(regime)),
    )
    return replace(law, regimes=tuple(regimes))


def check_locked(
    subjects: Sequence[str] | None,
    settings: Settings,
    file: str | Path,
    on_progress: OnProgress,
    on_result: Callable[[Result], None] = lambda _: None,
) -> tuple[list[Result], list[Difference]]:
    """The results of subjects, and how each one's law differs from the lockfile's.

    A law is compared where it was locked: with other sizes asked for, it is found once more
    around those of its entry.

    Args:
        subjects: their spellings; None for every one that the file has for this workload.
        settings: how they are checked.
        file: the lockfile.
        on_progress: given what each is doing.
        on_result: given each result.

    Raises:
        UsageError: no such file, another format version, or a spelling that cannot be read.
    """
    entries = read(file)
    name, arch = settings.workload.name, settings.arch
    if not subjects:
        subjects = [key[0] for key in entries if key[1:] == (name, arch)]
    if not subjects:
        msg = f"lockfile {str(file)!r} has no law of workload {name}: run oom-suite lock"
        raise UsageError(msg)
    studies = full_studies(subjects, settings, on_progress, on_result)
    differences = []
    for full in studies:
        entry = entries.get((full.study.result.subject, name, arch))
        found = _difference(full, entry, settings, on_progress)
        command = _lock_command(found.key, file)
        differences.append(replace(found, file=str(file), lock_command=command))
    return [full.study.result for full in studies], differences


def locked_workloads(workload: str | None, file: str | Path) -> list[str]:
    """The workload that was asked for; else every one that the lockfile has laws of.

    Raises:
        UsageError: no such file, or another format version.
    """
    known = read(file)
    if workload is not None:
        return [workload]
    return list(dict.fromkeys(key[1] for key in known)) or [DECODE.name]


def check_locked_workloads(
    subjects: Sequence[str] | None,
    settings: Mapping[str, Settings],
    file: str | Path,
    on_progress: OnProgress,
    on_result: Callable[[Result], None] = lambda _: None,
) -> tuple[list[Result], list[Difference]]:
    """The same for several workloads.

    Raises:
        UsageError: as `check_locked`.
    """
    results: list[Result] = []
    differences: list[Difference] = []
    for chosen in settings.values():
        found, differ = check_locked(subjects, chosen, file, on_progress, on_result)
        results += found
        differences += differ
    return results, differences


def _difference(
    full: FullStudy,
    entry: Entry | None,
    settings: Settings,
    on_progress: OnProgress,
) -> Difference:
    key: Key = (full.study.result.subject, settings.workload.name, settings.arch)
    if entry is None:
        return Difference(key, Change.MISSING, "it has no entry")
    there = replace(settings, scenario=entry.scenario, sizes=entry.law.sizes)
    if dict(entry.law.sizes) != dict(settings.sizes) and full.study.derivation is not None:
        (full,) = full_studies([key[0]], replace(there, lane="shadow", budget=None), on_progress)
    now, study = entry_of(full, there), full.study
    if now is None or study.derivation is None:
        return Difference(key, Change.UNDECIDED, f"no law was found: {study.result.reason}")
    if study.derivation.unsteady:
        return Difference(key, Change.UNDECIDED, study.derivation.unsteady)
    scenarios: list[Mapping[str, int]] = [
        known.sizes for known in settings.workload.scenarios.values()
    ]
    found = compare(entry, now, settings.workload, scenarios)
    if study.derivation.unrecorded and found.change is not Change.GREW:
        reason = what_was_not_recorded(study.derivation.unrecorded)
        return Difference(key, Change.UNDECIDED, reason)
    return with_lines(found, study.derivation)


def _lock_command(key: Key, file: str | Path) -> str:
    subject, workload, arch = key
    words = ["oom-suite", "lock", subject]
    words += [] if workload == "decode" else ["--workload", workload]
    usual = target(default_target()).arch or "generic"
    words += [] if arch == usual else ["--target", arch]
    words += [] if str(file) == DEFAULT_FILE else ["--file", str(file)]
    return shlex.join(words)


def exit_code(differences: Sequence[Difference]) -> int:
    """1 when a law grew, 3 when one is not locked or cannot be compared, else 0."""
    changes = {difference.change for difference in differences}
    if Change.GREW in changes:
        return 1
    return 3 if changes & {Change.MISSING, Change.UNDECIDED} else 0


def worst(*codes: int) -> int:
    """The exit code of several judgements: a broken promise before one that was not judged."""
    return next((code for code in (1, 3) if code in codes), 0)
