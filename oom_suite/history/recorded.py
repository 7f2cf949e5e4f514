"""What a store keeps of one result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Recorded:
    """One result: what it is found by, what is compared, and all that its file said of it.

    Attributes:
        key: a digest of everything else that its file says: the same result has the same key.
        kind: the command that made it: ``check``, ``law``, ``measure`` ...
        subject: its spelling.
        line: the subject without its release, whose life it is part of: ``vllm`` of
            ``vllm==0.21.0``.
        release: the release, ``0.21.0``; empty for what is none.
        workload: the workload's name.
        lane: the lane that ran it.
        target: the device that it is for, or was measured on.
        scenario: the scenario's name.
        sizes: the axes' values, as JSON.
        verdict: the outcome.
        law: the law's formulas, the scenario's own first, and what kernels take inside, as JSON;
            empty where none is known.
        num_bytes: the peak of requested bytes at the scenario; None where none is known.
        elapsed_us: microseconds that a call took on the device; None where that was not asked.
        code_commit: the commit of the code under test; empty for a release, or where unknown.
        is_dirty: whether the files differed from it.
        committed_at: when that commit was made, in UTC; empty where unknown.
        made_at: when the result was made, in UTC; where its file does not say, when it was
            recorded.
        python: Python's version.
        torch: torch's.
        triton: Triton's; empty without it.
        driver: the device driver's; empty where nothing ran on a device.
        device: the device's name; as the driver's.
        oom_suite: the suite's version.
        environment: all that its file says of where it was made, as JSON.
        body: the result, as JSON.
    """

    key: str
    kind: str
    subject: str
    line: str
    release: str
    workload: str
    lane: str
    target: str
    scenario: str
    sizes: str
    verdict: str
    law: str
    num_bytes: int | None
    elapsed_us: float | None
    code_commit: str
    is_dirty: bool
    committed_at: str
    made_at: str
    python: str
    torch: str
    triton: str
    driver: str
    device: str
    oom_suite: str
    environment: str
    body: str = ""

    @property
    def place(self) -> tuple[str, ...]:
        """What decides a law besides the code: another place can have another law."""
        return self.python, self.torch, self.triton, self.driver, self.device


def canonical(values: Any) -> str:
    """JSON of these values, the same text for the same values."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def law_of(body: Mapping[str, Any]) -> str:
    """The law of a result's own JSON, in the form that two results are compared in.

    Args:
        body: as ``check``, ``law`` and ``scan`` have it in their JSON.
    """
    law = body.get("law")
    # A scan's row has the law as text, and its formulas beside.
    regimes = (law if isinstance(law, dict) else body).get("regimes")
    if not law or not regimes:
        return ""
    formulas = [each["text"] if isinstance(each, dict) else each for each in regimes]
    inside = sorted(
        f"at most {each['at_most']} inside {each['op']}" for each in body.get("inside", ())
    )
    return canonical({"formulas": formulas, "inside": inside})
