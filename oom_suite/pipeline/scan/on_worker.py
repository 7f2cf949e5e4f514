"""What a worker of a cluster does for a unit, and what it has to have in common with who asks."""

from __future__ import annotations

import functools
import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import get_worker

from oom_suite.doors import plugins
from oom_suite.pipeline.commits.kept import digest
from oom_suite.pipeline.scan.run import run_unit
from oom_suite.records.scan import Unit
from oom_suite.subjects import family_of, parse
from oom_suite.targets.default import default_targets
from oom_suite.targets.versions import DECIDES, checkout, environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from distributed import Worker

TOPIC = "oom-suite scan"
"""What workers say of units that they are at, for whoever is subscribed to it at the scheduler."""
_SUITE = Path(__file__).parents[2]
ADVICE = "start the scheduler and every worker from the environment of this command"


@dataclass(frozen=True, slots=True)
class Asked:
    """A unit, and all that its row depends on beside it.

    Attributes:
        unit: its `Unit.to_json`.
        time_limit_s: seconds that one run of it may take.
        usual_targets: those that a command need not name where it is asked.
        facts: from `facts`, of the process that asks.
        folder: the folder of the process that asks, where the subject's code is its own; empty
            for code that is the same everywhere.
        content: from `content_of`, of that process.
    """

    unit: dict[str, Any]
    time_limit_s: float
    usual_targets: tuple[str, ...]
    facts: Mapping[str, str]
    folder: str
    content: str

    @classmethod
    def all_of(cls, units: Iterable[Unit], time_limit_s: float) -> dict[Unit, Asked]:
        """What this process asks for each unit."""
        content = functools.cache(content_of)
        folder, usual_targets = str(Path.cwd()), default_targets()
        return {
            unit: cls(
                unit=unit.to_json(),
                time_limit_s=time_limit_s,
                usual_targets=usual_targets,
                facts=facts(),
                folder=folder if content(unit.subject) else "",
                content=content(unit.subject),
            )
            for unit in units
        }

    def refusal(self) -> str:
        """Why this process may not judge it, in a line; empty where it may."""
        own = facts()
        for name, value in self.facts.items():
            if own.get(name) != value:
                return f"{name} is {own.get(name)!r} there and {value!r} here: {ADVICE}"
        if not self.folder:
            return ""
        subject, folder = self.unit["subject"], str(Path.cwd())
        if folder != self.folder:
            msg = f"it runs in {folder!r}, and {subject} is in {self.folder!r}: start it there, "
            return msg + "on a disk that all share"
        if content_of(subject) != self.content:
            return f"{subject} is other code there than here: share one folder among all machines"
        return ""


@functools.cache
def facts() -> dict[str, str]:
    """What decides laws in this process, beside the code under test: versions and the suite."""
    known = {**environment(), **checkout()}
    packages = {
        f"{each.project_name} {each.version}" for _, each in plugins().list_plugin_distinfo()
    }
    return {
        **{name: str(known[name]) for name in DECIDES},
        "the suite's code": _content(_SUITE)[:12],
        "the list of plugins": ", ".join(sorted(packages)),
    }


def content_of(subject: str) -> str:
    """A digest of the Python files of a subject that is this machine's own; empty for none.

    What a file imports from elsewhere is not in it.
    """
    source = family_of(spec := parse(subject)).source(spec)
    return "" if source is None else _content(source)


def _content(source: Path) -> str:
    files = [source] if source.is_file() else sorted(source.rglob("*.py"))
    return digest(
        part
        for file in files
        if file.is_file()
        for part in ((file.relative_to(source).as_posix(),), file.read_bytes())
    )


def refusals(asked: tuple[Asked, ...]) -> str:
    """Why this process may not judge one of these; empty where it may judge them all."""
    return next(filter(None, (each.refusal() for each in asked)), "")


def judge(asked: Asked) -> dict[str, Any]:
    """The row of a unit, as a task of a worker.

    Returns:
        ``worker``, its name; ``row``, that of `ScanRow.to_json`, or ``refused``, why there is none.
    """
    worker = get_worker()
    name = str(worker.name)
    if refused := asked.refusal():
        return {"worker": name, "refused": refused}
    # The nanny's workers may have no children, since nobody would end these with a worker that is
    # killed. Ours end by themselves then: `oom_suite.processes.ending`.
    multiprocessing.current_process().daemon = False
    unit = Unit.from_json(asked.unit)
    say = functools.partial(_say, worker, unit, name)
    row = run_unit(unit, say, asked.time_limit_s, asked.usual_targets)
    return {"worker": name, "row": row.to_json()}


def _say(worker: Worker, unit: Unit, name: str, subject: str, message: str) -> None:
    """Progress of a unit, sent to whoever waits for it."""
    told = {"unit": unit.to_json(), "subject": subject, "message": message, "by": name}
    worker.log_event(TOPIC, told)
