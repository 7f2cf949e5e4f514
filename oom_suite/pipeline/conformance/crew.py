"""Workers of one kind, each in a process that is replaced when a case ends it."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oom_suite.processes.child import ChildError

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from oom_suite.pipeline.conformance.cases import Unit
    from oom_suite.pipeline.session import Session
    from oom_suite.processes.askers import Respawning
    from oom_suite.processes.protocol import Request

    Rows = dict[str, dict[str, Any]]
    Ask = Callable[[tuple[Unit, ...], str, frozenset[str]], Request[bool]]


@dataclass
class Crew:
    """Workers of one kind, and what they have found.

    Attributes:
        session: starts their processes.
        verb: what they have done with a case.
        ask: the request for some units.
        needs_gpu: whether their processes see the GPU.
        num_workers: how many work side by side.
        queue: parts that nobody has taken yet.
        until: when no further part is begun; None for never.
        imports: modules that each process imports first.
        rows: what is known of each case, by key.
        left_out: units that nobody came to.
    """

    session: Session
    verb: str
    ask: Ask
    needs_gpu: bool
    num_workers: int
    queue: deque[tuple[Unit, ...]]
    until: float | None
    imports: tuple[str, ...]
    rows: Rows = field(default_factory=dict)
    left_out: list[Unit] = field(default_factory=list)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def work(self) -> None:
        """Take parts until there are none, in a process that is replaced when a case ends it."""
        with tempfile.TemporaryDirectory(prefix="oom-suite-") as folder:
            worker = _Worker(self, Path(folder) / "journal.jsonl")
            while (part := self._next()) is not None:
                known: frozenset[str] = frozenset()
                is_done = False
                while not is_done:
                    is_done, found = worker.asked(part, known)
                    with self._turn:
                        self.rows |= found
                    # Nothing new: the process itself cannot be started, or dies before a case.
                    is_done |= not found
                    known |= found.keys()
            worker.close()

    def _next(self) -> tuple[Unit, ...] | None:
        with self._turn:
            if not self.queue:
                return None
            if self.until is not None and time.monotonic() > self.until:
                self.left_out += [unit for part in self.queue for unit in part]
                self.queue.clear()
                return None
            return self.queue.popleft()


class _Worker:
    """One process after another, and the file that they write to."""

    def __init__(self, crew: Crew, journal: Path) -> None:
        self._crew = crew
        self._journal = journal
        self._asker: Respawning | None = None

    def asked(self, part: tuple[Unit, ...], known: frozenset[str]) -> tuple[bool, Rows]:
        """Whether all cases of a part are known now, and those that were not before."""
        self._journal.unlink(missing_ok=True)
        crew, death, is_done = self._crew, "", False
        if self._asker is None:
            self._asker = crew.session.child(
                imports=crew.imports, preload=crew.imports, needs_gpu=crew.needs_gpu
            )
        try:
            is_done = self._asker.ask(crew.ask(part, str(self._journal), known))
        except ChildError as error:
            death = str(error)
            self.close()
        return is_done, _read(self._journal, death)

    def close(self) -> None:
        """End the process."""
        if self._asker is not None:
            self._asker.close()
            self._asker = None


def _read(journal: Path, death: str) -> Rows:
    """What a worker wrote; the case that it ended in has the end as its error."""
    found: Rows = {}
    begun = ""
    text = journal.read_text(encoding="utf-8") if journal.is_file() else ""
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if "begun" in entry:
            begun = entry["begun"]
        else:
            found[entry["key"]] = entry
    if death and begun and begun not in found:
        suite, name, case = begun.split(": ", 2)
        found[begun] = {"suite": suite, "name": name, "case": case, "error": death}
    return found
