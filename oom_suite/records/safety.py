"""What the safety detectors found of one subject."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.records.frame import Frame
from oom_suite.records.result import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


PROPERTIES = (
    "reads",
    "writes",
    "indices",
    "addresses",
    "capture",
    "creep",
    "precision",
)
"""The properties of a step, in the order that they are reported in.

``reads``: it reads only what its indices name, and never what nobody wrote. ``writes``: it
writes all of ``output`` and nothing else. ``indices``: padding, empty and impossible indices have
a stated outcome. ``addresses``: it is right beyond 2**31 and 2**32 bytes, and on padded or offset
pages. ``capture``: a CUDA/HIP graph can record it, and replays follow new contents. ``creep``:
step after step takes no more memory. ``precision``: its answer is the float64 oracle's.
"""


@dataclass(frozen=True, slots=True)
class Region:
    """A run of bytes in one tensor of the step.

    Attributes:
        tensor: the argument's name, for example ``kv_cache``.
        what: what lies there, for example ``unreferenced block`` or ``red zone before``.
        block: the physical block, where the tensor is a pool; otherwise None.
        slot: the token within the block; None where the region is no token's.
        first_byte: offset of the first byte in the tensor's storage; negative before it.
        num_bytes: its length.
        distance_bytes: from the nearest byte that the step may touch; None where there is none.
    """

    tensor: str
    what: str
    block: int | None
    slot: int | None
    first_byte: int
    num_bytes: int
    distance_bytes: int | None


@dataclass(frozen=True, slots=True)
class Hit:
    """One breach of a property.

    Attributes:
        kind: a short fixed name of the breach, for example ``reads-unreferenced-block``,
            ``host-sync`` or ``grows-each-step``; the same on every device.
        text: one line for the reader, with the figures.
        frame: the line of the code under test, where it is known.
        region: the bytes concerned, where there are such.
    """

    kind: str
    text: str
    frame: Frame | None = None
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on one property.

    Attributes:
        name: one of `PROPERTIES`.
        verdict: the outcome; INCONCLUSIVE where it could not be shown either way.
        reason: one line: why this verdict.
        hits: the breaches, the plainest first.
        facts: figures worth keeping besides, by name, for example ``max_abs_error``.
        not_proved: what a PASS does not prove, in one sentence.
    """

    name: str
    verdict: Verdict
    reason: str
    hits: tuple[Hit, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    not_proved: str = ""

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return {**asdict(self), "verdict": self.verdict.value, "facts": dict(self.facts)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Finding:
        """The finding that `to_json` wrote."""
        hits = (
            Hit(
                hit["kind"],
                hit["text"],
                None if hit["frame"] is None else Frame(**hit["frame"]),
                None if hit["region"] is None else Region(**hit["region"]),
            )
            for hit in body["hits"]
        )
        return cls(
            body["name"],
            Verdict(body["verdict"]),
            body["reason"],
            tuple(hits),
            tuple(body["facts"].items()),
            body["not_proved"],
        )


@dataclass(frozen=True, slots=True)
class SafetyReport:
    """The findings on one subject.

    Attributes:
        subject: its spelling.
        device: where it ran, for example ``cpu`` or ``cuda``.
        findings: one for each property that was asked for, in the order of `PROPERTIES`.
        expected: properties that this subject is known to break, for example ``("capture",)``.
        workload: the workload that was named; empty for the usual one.
    """

    subject: str
    device: str
    findings: tuple[Finding, ...]
    expected: tuple[str, ...] = ()
    workload: str = ""

    @property
    def as_expected(self) -> bool:
        """Whether exactly the known properties are broken, and all others were shown to hold."""
        return all(
            one.verdict is (Verdict.FAIL if one.name in self.expected else Verdict.PASS)
            for one in self.findings
        )

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "subject": self.subject,
            "device": self.device,
            "expected": list(self.expected),
            "as_expected": self.as_expected,
            "findings": [one.to_json() for one in self.findings],
        }


def by_what_was_seen(seen: Iterable[tuple[str, str]]) -> str:
    """``A, B: timed out; C: killed`` of cases and what was seen of each, said once."""
    names: dict[str, list[str]] = {}
    for name, what in seen:
        names.setdefault(what, []).append(name)
    return "; ".join(f"{', '.join(alike)}: {what}" for what, alike in names.items())
