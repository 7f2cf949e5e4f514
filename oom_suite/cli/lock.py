"""`oom-suite lock`: writes the laws of subjects to the lockfile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from oom_suite.cli.options import (
    OneWorkload,
    Package,
    Scenario,
    Set,
    Stub,
    SubjectsAsForCheck,
    Targets,
    TimeLimit,
    WrittenLockFile,
)
from oom_suite.cli.progress import Progress
from oom_suite.cli.settings import first_workload, shadow_settings, spelled, target_of_lock
from oom_suite.laws.lockfile import DEFAULT_FILE, compare, dumps, merged, read
from oom_suite.pipeline.law_page import FullStudy, full_studies
from oom_suite.pipeline.locked import entry_of, worst
from oom_suite.report.files import write_text
from oom_suite.report.rows import printable
from oom_suite.report.screen import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.pipeline.settings import Settings
    from oom_suite.records.lock import Entry, Key

EXIT_NO_LAW = 3


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command("lock")
    def lock_command(
        subjects: SubjectsAsForCheck = None,
        *,
        file: WrittenLockFile = DEFAULT_FILE,
        scenario: Scenario = None,
        sizes: Set = None,
        workload: OneWorkload = None,
        target: Targets = None,
        time_limit: TimeLimit = 120.0,
        stub: Stub = None,
        package: Package = None,
    ) -> None:
        """Write the laws of subjects to a lockfile, which check --locked compares with.

        Entries of other subjects stay as they are. Exits 0, 2 on bad usage, 3 when a subject
        has no law to lock.
        """
        named = spelled(subjects, stub, package)
        name = first_workload(workload, named)
        on = [target_of_lock(target, file)]
        settings = shadow_settings(scenario, sizes, name, on, None, time_limit)
        old = read(file) if Path(file).exists() else {}
        with Progress() as progress:
            studies = full_studies(named, settings, progress.update, progress.finish)
        new, codes = [], []
        for study in studies:
            entry, refused = lockable(study, settings)
            codes.append(EXIT_NO_LAW if entry is None else 0)
            if entry is not None:
                new.append(entry)
            say(refused or _change(old, entry, settings))
        entries = merged(old, new)
        if entries != old or not Path(file).exists():
            write_text(dumps(entries), file)
        say(f"{file}: {len(entries)} {'law' if len(entries) == 1 else 'laws'}")
        raise typer.Exit(worst(*codes))


def lockable(found: FullStudy, settings: Settings) -> tuple[Entry | None, str]:
    """The entry of a study; or None, and one line why there is none."""
    entry, study = entry_of(found, settings), found.study
    subject = printable(study.result.subject)
    if entry is None or study.derivation is None:
        return None, f"not locked: {subject}: no law was found: {printable(study.result.reason)}"
    if study.derivation.unsteady:
        return None, f"not locked: {subject}: {study.derivation.unsteady}"
    if study.result.leaks:
        return None, f"not locked: {subject}: {printable(study.result.leaks[0])}"
    return entry, ""


def _change(old: Mapping[Key, Entry], entry: Entry | None, settings: Settings) -> str:
    """What locking this entry does to the file, in one line."""
    assert entry is not None
    start = f"{printable(entry.subject)}: workload {entry.workload}"
    before = old.get(entry.key)
    if before is None:
        return f"added    {start}"
    if merged(old, [entry])[entry.key] is before:
        return f"kept     {start}"
    if dict(before.law.sizes) != dict(entry.law.sizes):
        return f"changed  {start}, now around scenario {entry.scenario}"
    found = compare(before, entry, settings.workload)
    return f"changed  {start}: {printable(found.reason)}"
