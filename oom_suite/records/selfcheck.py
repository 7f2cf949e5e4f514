"""What the self-check found: each planted fault and each healthy twin, under each detector."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

REQUIRED_BLOCKS_PER_BYTE = 8
"""Growth of one byte per this many blocks must be caught: a bitmap of the pool."""

TWINS_GROUP = "twins"
"""The group of healthy steps, whichever file they stand in."""

LIMIT_GROUP = "limit"
"""The group of steps that grow ever less, by which the detection limit is found."""


NEEDS_TRITON = "Triton is not installed: pip install 'oom-suite[triton]'"
"""Why faults in kernels are not tried on a CPU, and what helps."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One subject under one detector.

    Attributes:
        name: the subject, ``group:function``.
        group: what it is counted with.
        is_twin: whether it is healthy, so that any alarm is a false one.
        detector: ``"law"`` or one of `oom_suite.records.safety.PROPERTIES`.
        about: what is wrong with it, or unusual about it, in one line.
        verdict: what the detector said: ``PASS``, ``FAIL`` or ``INCONCLUSIVE``.
        named: what it blamed: functions, or kinds of hit, the plainest first.
        expected: which of these are right; empty for a twin.
        reason: the detector's own line.
        elapsed_ms: how long it took.
        breaks: whether a twin breaks this property by its nature, and says so.
    """

    name: str
    group: str
    is_twin: bool
    detector: str
    about: str
    verdict: str
    named: tuple[str, ...]
    expected: tuple[str, ...]
    reason: str
    elapsed_ms: int
    breaks: bool = False

    @property
    def is_right(self) -> bool:
        """Whether a fault was caught and named rightly, or a healthy twin raised no alarm."""
        if self.is_twin:
            return self.verdict == ("FAIL" if self.breaks else "PASS")
        return self.verdict == "FAIL" and bool(self.named) and self.named[0] in self.expected


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """The result of a self-check.

    Attributes:
        device: where real tensors lay.
        trials: every subject under every detector that was tried on it.
        blocks_per_byte: the most blocks for which one byte of growth was caught; 0 for none, None
            where the limit was not looked for.
        is_bounded: whether a smaller growth was tried and missed.
        elapsed_ms: of the whole.
        half: ``quick`` or ``long`` where that alone was tried; empty for the whole.
        num_left_out: faults and twins that were not tried, for want of Triton.
    """

    device: str
    trials: tuple[Trial, ...]
    blocks_per_byte: int | None
    is_bounded: bool
    elapsed_ms: int
    half: str = ""
    num_left_out: int = 0

    @property
    def mutants(self) -> tuple[Trial, ...]:
        """The planted faults."""
        return tuple(one for one in self.trials if not one.is_twin)

    @property
    def survivors(self) -> tuple[Trial, ...]:
        """The planted faults that were not caught, or not named rightly."""
        return tuple(one for one in self.mutants if not one.is_right)

    @property
    def twins(self) -> tuple[Trial, ...]:
        """The healthy ones, each once for each detector."""
        return tuple(one for one in self.trials if one.is_twin)

    @property
    def false_alarms(self) -> tuple[Trial, ...]:
        """The healthy ones that a detector did not pass."""
        return tuple(one for one in self.twins if not one.is_right)

    @property
    def reaches_limit(self) -> bool:
        """Whether the growth that must be caught is caught."""
        return self.blocks_per_byte is None or self.blocks_per_byte >= REQUIRED_BLOCKS_PER_BYTE

    @property
    def is_good(self) -> bool:
        """Whether the detectors catch all that they must, and nothing else."""
        return not self.survivors and not self.false_alarms and self.reaches_limit

    def to_json(self) -> dict[str, Any]:
        """The self-check as JSON values, under the keys of the files written so far."""
        return {
            "device": self.device,
            "half": self.half,
            "is_good": self.is_good,
            "num_mutants": len(self.mutants),
            "num_survivors": len(self.survivors),
            "num_false_alarms": len(self.false_alarms),
            "blocks_a_byte": self.blocks_per_byte,
            "limit_is_bounded": self.is_bounded,
            "elapsed_ms": self.elapsed_ms,
            "num_left_out": self.num_left_out,
            "seen": [{**asdict(one), "is_right": one.is_right} for one in self.trials],
        }
