"""A locked law, and how a subject's law differs from it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from oom_suite.records.frame import Frame
    from oom_suite.records.law import Law, Polynomial

Key = tuple[str, str, str]
"""What a lockfile has one entry for: subject, workload, architecture."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is promised of one subject.

    Attributes:
        subject: its spelling.
        workload: the workload's name.
        arch: the GPU architecture that the code saw.
        scenario: the name of the sizes that the law was found around.
        law: the law there, with those sizes, the axes it holds and what it assumes.
        elsewhere: laws found where that one does not hold, each with its own sizes.
        scenario_bytes: peak requested bytes of an exact run at each named scenario.
        versions: of the suite and of torch, when the law was found.
    """

    subject: str
    workload: str
    arch: str
    scenario: str
    law: Law
    elsewhere: tuple[Law, ...] = ()
    scenario_bytes: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What it is found by."""
        return self.subject, self.workload, self.arch


class Change(enum.Enum):
    """How a law differs from the locked one. Only `GREW` is a failure; `SAME` and `SHRANK` pass."""

    SAME = "as locked"
    SHRANK = "shrank"
    GREW = "grew"
    UNDECIDED = "undecided"
    MISSING = "not locked"


@dataclass(frozen=True, slots=True)
class GrownTerm:
    """A term that is larger than in the locked formula.

    Attributes:
        term: the whole term as it is now.
        locked: its coefficient in the locked formula; 0 for a new term.
        added: how much its coefficient grew.
        lines: the source lines that hold it now, each with its part of the coefficient; the
            line that brought the growth alone, where one line's part is the growth.
    """

    term: Polynomial
    locked: Fraction
    added: Fraction
    lines: tuple[tuple[Frame, Fraction], ...] = ()


@dataclass(frozen=True, slots=True)
class Growth:
    """A formula that exceeds every locked one somewhere.

    Attributes:
        now: the formula.
        locked: the locked formula nearest to it.
        terms: the terms of `now` that are larger than there.
        sizes: sizes at which the law exceeds the locked law.
        now_bytes: the law there.
        locked_bytes: the locked law there.
    """

    now: Polynomial
    locked: Polynomial
    terms: tuple[GrownTerm, ...]
    sizes: Mapping[str, int]
    now_bytes: int
    locked_bytes: int

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the grown terms, in the order that formulas name them."""
        found = frozenset[str]().union(*(each.term.axes for each in self.terms))
        rank = {axis: place for place, axis in enumerate(self.now.order)}
        return tuple(sorted(found, key=lambda axis: (rank.get(axis, len(rank)), axis)))


@dataclass(frozen=True, slots=True)
class Difference:
    """How one subject's law differs from what the lockfile promises.

    Attributes:
        key: subject, workload, architecture.
        change: the outcome.
        reason: one line: why this outcome.
        growths: the formulas that grew, the worst first.
        file: the lockfile.
        lock_command: what to run to promise the law as it is now.
    """

    key: Key
    change: Change
    reason: str
    growths: tuple[Growth, ...] = ()
    file: str = ""
    lock_command: str = ""

    def to_json(self) -> dict[str, Any]:
        """The difference as JSON values; formulas as text, coefficients as exact text."""
        subject, workload, arch = self.key
        return {
            "subject": subject,
            "workload": workload,
            "arch": arch,
            "change": self.change.value,
            "reason": self.reason,
            "growths": [_growth_to_json(growth) for growth in self.growths],
            "file": self.file,
            "lock_command": self.lock_command,
        }


def _growth_to_json(growth: Growth) -> dict[str, Any]:
    return {
        "now": str(growth.now),
        "locked": str(growth.locked),
        "axes": list(growth.axes),
        "terms": [
            {
                "text": str(each.term),
                "locked": str(each.locked),
                "added": str(each.added),
                "lines": [
                    {"where": str(line), "coefficient": str(part)} for line, part in each.lines
                ],
            }
            for each in growth.terms
        ],
        "sizes": dict(growth.sizes),
        "now_bytes": growth.now_bytes,
        "locked_bytes": growth.locked_bytes,
    }
