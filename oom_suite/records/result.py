"""A result: the verdict on one subject and workload, with everything a reader needs to act."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from oom_suite.records.blame import Blame, Breach
    from oom_suite.records.covering import Coverage
    from oom_suite.records.kept import Kept
    from oom_suite.records.law import KernelTerm, Law
    from oom_suite.records.measurement import Measurement, Reconciliation
    from oom_suite.records.trace import Unseen


class Verdict(enum.Enum):
    """The outcome of judging a subject. Only `PASS` is green."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class BudgetFit:
    """A device's free bytes and whether the scenario's peak fits in them.

    Attributes:
        name: of the device, or the amount.
        free_bytes: what it has free.
        fits: whether the peak fits, what kernels take inside included.
        inside_bytes: what kernels take inside at most, beyond the peak that was seen.
    """

    name: str
    free_bytes: int
    fits: bool
    inside_bytes: int = 0


@dataclass(frozen=True, slots=True)
class HostMemory:
    """What a call's tensors take of the host's memory, beside the device's.

    Attributes:
        kind: ``"pageable"`` or ``"pinned"``.
        law: its law.
        peak_requested_bytes: largest live sum of requests at the scenario.
        verdict: whether the contract holds for it.
        reason: one line: why.
    """

    kind: str
    law: Law
    peak_requested_bytes: int
    verdict: Verdict
    reason: str

    @property
    def name(self) -> str:
        """``host memory`` or ``pinned host memory``."""
        return "pinned host memory" if self.kind == "pinned" else "host memory"

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "kind": self.kind,
            "law": _law_to_json(self.law),
            "peak_requested_bytes": self.peak_requested_bytes,
            "verdict": self.verdict.value,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on one subject, workload, lane and scenario.

    Attributes:
        subject: its spelling, as the user wrote it.
        workload: the workload's name, for example ``"decode"``.
        lane: the lane that ran it.
        scenario: the scenario's name.
        sizes: the axes' values.
        verdict: the outcome.
        expected: the outcome that this subject is known for; `Verdict.PASS` unless it is a
            built-in that reproduces a bug.
        reason: one line: why this verdict.
        law: the law, when one was found.
        peak_requested_bytes: largest live sum of requests at the scenario; None when not run.
        peak_allocated_bytes: largest sum of the blocks that serve them, by the allocator's rules.
        peak_reserved_bytes: what the allocator takes from the driver for them, at the most.
        largest_request_bytes: largest single request at the scenario.
        budget: the device's budget, when one was given.
        blame: the guilty lines, largest first.
        unseen: operators with scratch that the trace cannot see.
        notes: what the reader must know besides, one clause each.
        measurement: what the device and the machine said (measure lane only).
        reconciliation: what was predicted against what was measured (measure lane only).
        next_command: what to run next; empty when nothing is wrong.
        host: what tensors take of the host's memory, pageable and pinned apart; nothing where
            they take none, or where the workload leaves it out.
        kept: what further calls at the scenario leave alive.
        target: the device that the verdict is for; ``generic`` for one of no particular kind.
        leaks: what each further call leaves more, a sentence for each memory.
        breach: the part of the law that breaks a promise; None where none is broken.
        coverage: the peak over a box of sizes beside what a profile run took; None where that was
            not promised.
        flat_from: axes that the peak was promised to stop to grow with, each with the size from
            which on it does.
        holds: the arguments of a promise that is kept where this one is broken, judged like this
            one; empty where none was found, or looked for.
        holds_because: what else is known of that one: from which size on the peak stays.
        details: messages of torch and Python behind the notes, word for word; in JSON alone.
        advice: what to do next where it is not green, in sentences; the first matters most.
        inside: what kernels take beside what the law has, a term for each operator and line.
    """

    subject: str
    workload: str
    lane: str
    scenario: str
    sizes: Mapping[str, int]
    verdict: Verdict
    reason: str
    expected: Verdict = Verdict.PASS
    law: Law | None = None
    peak_requested_bytes: int | None = None
    peak_allocated_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    largest_request_bytes: int | None = None
    budget: BudgetFit | None = None
    blame: tuple[Blame, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    notes: tuple[str, ...] = ()
    measurement: Measurement | None = None
    reconciliation: Reconciliation | None = None
    next_command: str = ""
    host: tuple[HostMemory, ...] = ()
    kept: tuple[Kept, ...] = ()
    target: str = "generic"
    leaks: tuple[str, ...] = ()
    breach: Breach | None = None
    advice: tuple[str, ...] = ()
    holds: str = ""
    holds_because: str = ""
    inside: tuple[KernelTerm, ...] = ()
    details: tuple[str, ...] = ()
    coverage: Coverage | None = None
    flat_from: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the one that this subject is known for."""
        return self.verdict is self.expected

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values, in the layout that `check --json` documents."""
        return {
            "subject": self.subject,
            "workload": self.workload,
            "lane": self.lane,
            "target": self.target,
            "scenario": self.scenario,
            "sizes": dict(self.sizes),
            "verdict": self.verdict.value,
            "expected": self.expected.value,
            "reason": self.reason,
            "law": None if self.law is None else _law_to_json(self.law),
            "peak_requested_bytes": self.peak_requested_bytes,
            "peak_allocated_bytes": self.peak_allocated_bytes,
            "peak_reserved_bytes": self.peak_reserved_bytes,
            "largest_request_bytes": self.largest_request_bytes,
            "budget": None
            if self.budget is None
            else {
                "name": self.budget.name,
                "free_bytes": self.budget.free_bytes,
                "fits": self.budget.fits,
                **({"inside_bytes": inside} if (inside := self.budget.inside_bytes) else {}),
            },
            "blame": [each.to_json() for each in self.blame],
            "breach": None if self.breach is None else self.breach.to_json(),
            "unseen": [
                {
                    "op": u.op,
                    "where": [str(frame) for frame in u.stack],
                    "input_bytes": u.input_bytes,
                    "reason": u.reason,
                }
                for u in self.unseen
            ],
            "inside": [term.to_json() for term in self.inside],
            "notes": list(self.notes),
            "details": list(self.details),
            "flat_from": dict(self.flat_from),
            **({} if self.coverage is None else {"coverage": self.coverage.to_json()}),
            "measurement": None if self.measurement is None else self.measurement.to_json(),
            "reconciliation": None
            if self.reconciliation is None
            else self.reconciliation.to_json(),
            "host": [each.to_json() for each in self.host],
            "kept": [each.to_json() for each in self.kept],
            "leaks": list(self.leaks),
            "advice": list(self.advice),
            "holds": self.holds,
            "holds_because": self.holds_because,
            "next_command": self.next_command,
        }


def _number(value: Fraction) -> float | int:
    return value.numerator if value.denominator == 1 else float(value)


def _law_to_json(law: Law) -> dict[str, Any]:
    regimes = [
        {
            "text": str(regime),
            "terms": [
                {"axes": list(axes), "coefficient": _number(c)} for axes, c in regime.terms.items()
            ],
        }
        for regime in law.regimes
    ]
    return {
        "text": str(law.here),
        "terms": regimes[0]["terms"],
        "regimes": regimes,
        "held": dict(law.held),
        "num_runs": law.num_runs,
        "notes": list(law.notes),
    }
