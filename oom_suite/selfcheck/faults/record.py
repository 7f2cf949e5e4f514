"""What is known of a planted fault and of a healthy twin before any detector has seen it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Self

from oom_suite.errors import UsageError, unknown
from oom_suite.records.safety import PROPERTIES
from oom_suite.records.selfcheck import TWINS_GROUP, Trial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.records import Workload

LAW = "law"
"""The detector of growth; the others are named as in `oom_suite.records.safety.PROPERTIES`."""

TWO_POOLS, ONE_POOL = "decode", "decode-swa"
"""The workloads of a decode step: on a layer with a compressed pool, and on one without."""


@dataclass(frozen=True, slots=True)
class Promised:
    """What a builder that is no decode step promises, in the words of `memory_law`.

    Attributes:
        axes: the sizes to test with.
        independent_of: axes that the peak must not depend on.
        at_most: what the peak must not exceed; empty where nothing is said.
        far: sizes of an axis to check at; chosen where not given.
    """

    axes: Mapping[str, int]
    independent_of: tuple[str, ...] = ()
    at_most: str = ""
    far: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What the self-check tries a detector on.

    Attributes:
        spelling: its function, ``"module:function"``, which any process can import.
        detector: ``"law"`` or one of `PROPERTIES`: the one that must catch the fault, or that is
            the likeliest to raise a false alarm about the healthy step.
        group: what it is counted with; for the suite's own the name of its file.
        about: what is wrong with it, or unusual about it, in one line.
        workload: the name of the workload that it is called with; empty for a builder of its
            own, which is called with the sizes that `promised` names.
        quick_workload: a smaller workload that shows the same, with which it is tried instead;
            empty where there is none.
        along: axes that its law is sought along beside those that the workload's contract
            forbids; None for all.
        promised: for a builder of its own, what it promises.
        is_stateful: whether it keeps something between calls, so that it needs a process of its
            own.
        launches_kernels: whether what it is about is in a Triton kernel: without a GPU, detectors
            that run it for real have Triton interpret it, in a process for that.
    """

    is_twin: ClassVar[bool] = False

    spelling: str
    detector: str
    group: str
    about: str
    workload: str = TWO_POOLS
    quick_workload: str = ""
    along: tuple[str, ...] | None = None
    promised: Promised | None = None
    is_stateful: bool = False
    launches_kernels: bool = False

    def __post_init__(self) -> None:
        """Refuse a detector that there is not, or that cannot be tried on it."""
        if self.detector not in {LAW, *PROPERTIES}:
            raise unknown("detector", self.detector, (LAW, *PROPERTIES))
        if self.detector not in self.detectors:
            msg = f"{self.spelling} is a builder of its own, for which there is only {LAW}"
            raise UsageError(f"{msg}, not {self.detector}: give it a workload")

    @property
    def detectors(self) -> tuple[str, ...]:
        """Every detector that can be tried on it, as far as its workload has what it needs."""
        return (LAW, *PROPERTIES) if self.workload else (LAW,)

    @property
    def function(self) -> str:
        """The function's own name."""
        return self.spelling.rpartition(":")[2]

    @property
    def name(self) -> str:
        """How it is called in reports, ``growth:byte_per_block``."""
        return f"{self.group}:{self.function}"

    @property
    def score_group(self) -> str:
        """The group that its trials are counted with: twins of all files are one."""
        return TWINS_GROUP if self.is_twin else self.group

    def in_cheapest_form(self) -> Self:
        """The same, with the smallest workload that shows what it is about."""
        return replace(self, workload=self.quick_workload or self.workload, quick_workload="")

    @property
    def expected_names(self) -> tuple[str, ...]:
        """What it may be called: nothing, unless a fault was planted."""
        return ()

    def trial(
        self, detector: str, verdict: str, named: tuple[str, ...], reason: str, elapsed_ms: int
    ) -> Trial:
        """What a detector said of it, beside what it should say."""
        return Trial(
            name=self.name,
            group=self.score_group,
            is_twin=self.is_twin,
            detector=detector,
            about=self.about,
            verdict=verdict,
            named=tuple(dict.fromkeys(named)),
            expected=self.expected_names,
            reason=reason,
            elapsed_ms=elapsed_ms,
            breaks=isinstance(self, Twin) and detector in self.breaks,
        )

    def narrowed(self, workload: Workload) -> Workload:
        """The workload with the axes alone that this subject's law is sought along."""
        if self.along is None:
            return workload
        kept = {*workload.contract.independent_of, *self.along}
        return replace(workload, axes=tuple(axis for axis in workload.axes if axis.name in kept))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant(Subject):
    """A step with one planted fault.

    Attributes:
        expected: the names that are right. For the law the functions whose line may be blamed;
            for a property the kinds of hit.
        places: functions that a hit's line may stand in; empty where a hit has no line.
    """

    expected: tuple[str, ...]
    places: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a fault that no name is right for."""
        Subject.__post_init__(self)
        if not self.expected:
            raise UsageError(f"{self.spelling} is a fault without a name that is expected of it")

    @property
    def expected_names(self) -> tuple[str, ...]:
        """What it may be called: a kind, and where a hit has a line, its function too."""
        if not self.places:
            return self.expected
        return tuple(f"{kind} in {place}" for kind in self.expected for place in self.places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin(Subject):
    """A healthy step that is unusual and right: no detector may raise an alarm, its own or another.

    Attributes:
        breaks: properties that it breaks by its nature, so that an alarm is right there.
    """

    is_twin: ClassVar[bool] = True

    breaks: tuple[str, ...] = ()
