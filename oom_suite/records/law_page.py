"""What `oom-suite law` shows of one subject: its law, terms, values, and what fits a budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from oom_suite.records.frame import Frame
    from oom_suite.records.law import KernelTerm, Law, Polynomial


@dataclass(frozen=True, slots=True)
class TermRow:
    """A term of the scenario's formula.

    Attributes:
        term: the term.
        num_bytes: its value at the scenario; None where data decides a size in it.
        lines: the lines that make it, each with its part of the coefficient; None for what no
            line of the code under test allocated.
    """

    term: Polynomial
    num_bytes: int | None
    lines: tuple[tuple[Frame | None, Fraction], ...]


@dataclass(frozen=True, slots=True)
class ValueRow:
    """The peak at a named scenario.

    Attributes:
        scenario: its name.
        law_bytes: what the law says; None where it holds an axis at another value.
        run_bytes: what an exact run took; None where it could not be run.
    """

    scenario: str
    law_bytes: int | None
    run_bytes: int | None


@dataclass(frozen=True, slots=True)
class LimitRow:
    """The largest size of one axis that fits a budget, all others as in the scenario.

    Attributes:
        axis: the axis, or ``num_blocks`` for both pools together.
        largest: the largest that fits; 0 when none does; None when there is no limit.
        reason: why there is no limit, or what else to know of it.
        is_solved: whether the law could be asked at all; `reason` says why not.
    """

    axis: str
    largest: int | None
    reason: str = ""
    is_solved: bool = True


@dataclass(frozen=True, slots=True)
class LawPage:
    """What `oom-suite law` shows.

    Attributes:
        subject: its spelling.
        workload: the workload's name.
        scenario: the sizes that the law was found around.
        law: the law.
        elsewhere: laws found where that one does not hold, with the sizes that differ there.
        notes: what the reader must know besides, one clause each.
        terms: of the scenario's formula, the largest first.
        values: the peak at the named scenarios.
        budget: the budget's name; empty without one.
        limits: what fits the budget.
        method: how the law is known, in a clause.
        assumes: what a proved law takes for granted; None where the law is fitted.
        conditions: what the workload's own builder asks of the sizes, for the JSON.
        inside: what kernels take beside the law at most, a term for each operator and line.
    """

    subject: str
    workload: str
    scenario: str
    law: Law
    elsewhere: tuple[tuple[Mapping[str, int], Law], ...]
    notes: tuple[str, ...]
    terms: tuple[TermRow, ...]
    values: tuple[ValueRow, ...]
    budget: str = ""
    limits: tuple[LimitRow, ...] = ()
    method: str = ""
    assumes: tuple[str, ...] | None = None
    conditions: tuple[str, ...] = ()
    inside: tuple[KernelTerm, ...] = ()

    @property
    def has_winner(self) -> bool:
        """Whether the first regime is known to win: nothing in it is left to unknown data."""
        return all(row.num_bytes is not None for row in self.terms)

    def to_json(self) -> dict[str, Any]:
        """The page as JSON values."""
        return {
            "subject": self.subject,
            "workload": self.workload,
            "scenario": self.scenario,
            "sizes": dict(self.law.sizes),
            "law": _law_to_json(self.law),
            "elsewhere": [
                {"at": dict(moved), **_law_to_json(law)} for moved, law in self.elsewhere
            ],
            "method": self.method,
            "assumes": None if self.assumes is None else list(self.assumes),
            "conditions": list(self.conditions),
            "inside": [term.to_json() for term in self.inside],
            "notes": list(self.notes),
            "terms": [
                {
                    "text": str(row.term),
                    "bytes": row.num_bytes,
                    "lines": [
                        {"where": None if line is None else str(line), "coefficient": str(part)}
                        for line, part in row.lines
                    ],
                }
                for row in self.terms
            ],
            "scenarios": {
                row.scenario: {"law_bytes": row.law_bytes, "run_bytes": row.run_bytes}
                for row in self.values
            },
            "budget": self.budget or None,
            "limits": {
                row.axis: {
                    "largest": row.largest,
                    "is_solved": row.is_solved,
                    "reason": row.reason,
                }
                for row in self.limits
            },
        }


def _law_to_json(law: Law) -> dict[str, Any]:
    return {
        "text": str(law),
        "regimes": [str(regime) for regime in law.regimes],
        "held": dict(law.held),
        "notes": list(law.notes),
    }
