"""Conformance: what was predicted of torch's own operators, and what a device said."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from oom_suite.records.result import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self


class Status(Enum):
    """How a prediction fared.

    Attributes:
        EXACT: measured to the byte; a library that took none of its bounded workspace is no error.
        BOUNDED: between the prediction without what kernels take at most, and with it.
        NAMED: off, and the prediction names an operator of the call that may take more.
        REFUSED: not predicted; the reason says why.
        WRONG: off, and nothing was named.
        NOT_RUN: the device itself cannot run the call.
    """

    EXACT = "exact"
    BOUNDED = "bounded"
    NAMED = "named"
    REFUSED = "refused"
    WRONG = "wrong"
    NOT_RUN = "not run"


def compared(
    least_bytes: int,
    most_bytes: int,
    measured_bytes: int,
    *,
    is_named: bool,
    is_library: bool = False,
) -> Status:
    """How a prediction fared against the device.

    Args:
        least_bytes: the predicted peak without what kernels take at most.
        most_bytes: the predicted peak with it.
        measured_bytes: the peak that the device counted.
        is_named: whether the prediction names something that may take more.
        is_library: whether all between the two is workspace that a library may do without.
    """
    if least_bytes == measured_bytes and (is_library or least_bytes == most_bytes):
        return Status.EXACT
    if least_bytes <= measured_bytes <= most_bytes:
        return Status.BOUNDED
    return Status.NAMED if is_named else Status.WRONG


_LISTS = ("named", "libraries", "by_data")


@dataclass(frozen=True, slots=True)
class ConformanceRow:
    """One call.

    Attributes:
        suite: ``operators``, ``modules``, ``scaled`` or ``models``.
        name: the operator, module or model.
        case: which call of it: dtype, sample, sizes, step.
        status: how the prediction fared.
        least_bytes: the predicted peak without what kernels take at most; None where refused.
        most_bytes: the predicted peak with it.
        measured_bytes: the device's peak of requested bytes above the call's start; None where
            it did not run.
        named: what the prediction names as unseen, an operator each.
        libraries: workspaces that are bounded, which libraries choose.
        by_data: operators whose bound is what the worst data takes.
        reason: why it was refused or not run.
        tracked_bytes: what torch's MemTracker says; models alone.
        allocated_bytes: the device's peak of allocated bytes, which that is held against.
    """

    suite: str
    name: str
    case: str
    status: Status
    least_bytes: int | None = None
    most_bytes: int | None = None
    measured_bytes: int | None = None
    named: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    by_data: tuple[str, ...] = ()
    reason: str = ""
    tracked_bytes: int | None = None
    allocated_bytes: int | None = None

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.suite}: {self.name}: {self.case}"

    @property
    def error(self) -> float | None:
        """How far the prediction is above what was measured, as a share of that."""
        if self.status is Status.EXACT:
            return 0.0
        return _error(self.most_bytes, self.measured_bytes)

    @property
    def tracker_error(self) -> float | None:
        """The same of torch's MemTracker, which counts as the allocator allocates."""
        return _error(self.tracked_bytes, self.allocated_bytes)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; what is empty is left out."""
        body = {name: getattr(self, name) for name in type(self).__slots__}
        body |= {"status": self.status.value}
        body |= {name: list(body[name]) for name in _LISTS}
        return {name: value for name, value in body.items() if value not in (None, "", [])}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> ConformanceRow:
        """The row that `to_json` wrote."""
        return cls(
            **{
                **body,
                "status": Status(body["status"]),
                **{name: tuple(body.get(name, ())) for name in _LISTS},
            }
        )


@dataclass(frozen=True, slots=True)
class Conformance:
    """A whole run.

    Attributes:
        device: what was measured on, in its own words.
        target: whom the predictions were for.
        rows: every call, in the order of suites and names.
        left_out: units that the time did not suffice for.
        elapsed_s: seconds that it took.
        torch: the version that both sides ran.
        predicted_by: the version that predicted, where another one had measured before.
    """

    device: str
    target: str
    rows: tuple[ConformanceRow, ...]
    left_out: tuple[str, ...] = ()
    elapsed_s: float = 0.0
    torch: str = ""
    predicted_by: str = ""

    @property
    def wrong(self) -> tuple[ConformanceRow, ...]:
        """The calls that were off without a word."""
        return tuple(row for row in self.rows if row.status is Status.WRONG)

    @property
    def num_compared(self) -> int:
        """The calls that the device ran."""
        return sum(row.status is not Status.NOT_RUN for row in self.rows)

    @property
    def verdict(self) -> Verdict:
        """FAIL where a call was off without a word; no PASS where too little was compared."""
        if self.wrong:
            return Verdict.FAIL
        if self.left_out or not self.num_compared:
            return Verdict.INCONCLUSIVE
        return Verdict.PASS

    def counts(self, suite: str = "") -> Counter[Status]:
        """How many calls fared how, of one suite or of all."""
        return Counter(row.status for row in self.rows if suite in {"", row.suite})

    @property
    def suites(self) -> tuple[str, ...]:
        """The suites that ran, in order."""
        return tuple(dict.fromkeys(row.suite for row in self.rows))

    def bounded(self, *, by_data: bool) -> list[ConformanceRow]:
        """The bounded calls whose bound is what the worst data takes, or the others."""
        rows = [row for row in self.rows if row.status is Status.BOUNDED]
        return [row for row in rows if bool(row.by_data) is by_data]

    @property
    def spared(self) -> list[ConformanceRow]:
        """The exact calls in which a library took none of the workspace that is bounded."""
        return [row for row in self.rows if row.status is Status.EXACT and row.libraries]

    @property
    def widest(self) -> ConformanceRow | None:
        """The bounded call whose bound is widest, where it is not data that decides."""
        bounded = self.bounded(by_data=False)
        return max(bounded, key=lambda row: row.error or 0.0, default=None)

    def to_json(self) -> dict[str, Any]:
        """As JSON values, the rows under ``rows``."""
        suites = {
            suite: {status.value: number for status, number in self.counts(suite).items()}
            for suite in self.suites
        }
        return {
            "device": self.device,
            "target": self.target,
            "torch": self.torch,
            **({"predicted_by": self.predicted_by} if self.predicted_by else {}),
            "verdict": self.verdict.value,
            "calls": {status.value: number for status, number in self.counts().items()},
            "suites": suites,
            "left_out": list(self.left_out),
            "elapsed_s": round(self.elapsed_s, 1),
            "rows": [row.to_json() for row in self.rows],
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """The run that `to_json` wrote, in its order.

        Raises:
            KeyError, TypeError, ValueError: it is not one.
        """
        return cls(
            device=str(body["device"]),
            target=str(body["target"]),
            rows=tuple(ConformanceRow.from_json(row) for row in body["rows"]),
            left_out=tuple(body["left_out"]),
            elapsed_s=float(body["elapsed_s"]),
            torch=str(body["torch"]),
        )


def _error(predicted: int | None, actual: int | None) -> float | None:
    if predicted is None or actual is None:
        return None
    if actual == 0:
        return 0.0 if predicted == 0 else float("inf")
    return predicted / actual - 1
