"""Requests that write a journal as a worker does, with a case that ends its process."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from oom_suite.pipeline.conformance.bench import key_of
from oom_suite.processes.protocol import Request


@dataclass(frozen=True)
class Planted(Request[bool]):
    """Finds one byte a case; units named ``crash`` end the process in their second case."""

    units: tuple
    journal: str
    skipped: frozenset

    def answer(self, kept):
        del kept
        with Path(self.journal).open("a") as journal:
            for unit in self.units:
                for case in ("one", "two", "three"):
                    key = key_of(unit, case)
                    if key in self.skipped:
                        continue
                    print(json.dumps({"begun": key}), file=journal, flush=True)
                    if unit.name == "crash" and case == "two":
                        os._exit(9)
                    where = {"suite": unit.suite, "name": unit.name, "case": case}
                    entry = {"key": key, **where, "measured_bytes": 1}
                    print(json.dumps(entry), file=journal, flush=True)
        return True


@dataclass(frozen=True)
class Dying(Request[bool]):
    """Ends its process before any case."""

    def answer(self, kept):
        del kept
        os._exit(9)
