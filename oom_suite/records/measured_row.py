"""A measured row: one call on a device against its prediction, or why it was not run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.records.measurement import Environment, Reconciliation

EXPLAINED = "explained"
UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """What one call took.

    Attributes:
        subject: its spelling.
        workload: the workload's name.
        scenario: the sizes' name.
        sizes: the axes' values.
        outcome: `EXPLAINED`, `UNEXPLAINED`, or the class of what kept it from running, for
            example ``not applicable`` or ``out of memory``.
        reason: one line where it is not explained; empty otherwise.
        reconciliation: predicted against measured; None where it did not run through.
        workspace_bytes: what libraries keep for the stream, made before the call.
        num_runs: how often it was measured.
        is_repeatable: whether all of these were equal to the byte, event by event.
        environment: where; None where nothing ran.
    """

    subject: str
    workload: str
    scenario: str
    sizes: Mapping[str, int]
    outcome: str
    reason: str = ""
    reconciliation: Reconciliation | None = None
    workspace_bytes: int = 0
    num_runs: int = 0
    is_repeatable: bool = True
    environment: Environment | None = None

    def to_json(self) -> dict[str, Any]:
        """The row as JSON values; the environment stands once, beside all rows."""
        body: dict[str, Any] = {
            "subject": self.subject,
            "workload": self.workload,
            "scenario": self.scenario,
            "sizes": dict(self.sizes),
            "outcome": self.outcome,
            "reason": self.reason,
            "num_runs": self.num_runs,
            "is_repeatable": self.is_repeatable,
            "workspace_bytes": self.workspace_bytes,
        }
        found = self.reconciliation
        if found is None:
            return body
        measured = {"requested_bytes": found.measured_requested_bytes}
        return {
            **body,
            "predicted": asdict(found.predicted),
            "measured": measured if found.measured is None else asdict(found.measured),
            "workspaces_in_call": [asdict(each) for each in found.workspaces],
            "unexplained_requested_bytes": found.unexplained_requested_bytes,
            "unexplained_allocated_bytes": found.unexplained_allocated_bytes,
            "reserved_difference_bytes": found.reserved_difference_bytes,
        }
