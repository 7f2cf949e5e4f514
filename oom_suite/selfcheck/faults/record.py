"""What is known of a mutant and of a healthy twin before any detector has seen it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = "oom_suite.selfcheck.faults"

LAW = "law"
"""The detector of growth; the others are named as in `oom_suite.records.safety.PROPERTIES`."""


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


@dataclass(frozen=True, slots=True)
class Mutant:
    """A step with one planted fault.

    Attributes:
        group: its file in this package; the score is given by group.
        function: its name in that file.
        detector: the one meant for it, ``"law"`` or one of `PROPERTIES`.
        fault: what is wrong with it, in one line.
        expected: the names that are right. For the law the functions whose line may be blamed;
            for a property the kinds of hit.
        places: functions that a hit's line may stand in; empty where a hit has no line.
        workload: ``"decode"`` or ``"decode-swa"``; empty for a builder of its own.
        promised: for a builder of its own, what it promises.
        is_stateful: whether it keeps something between calls, so that it needs a process of its
            own.
    """

    group: str
    function: str
    detector: str
    fault: str
    expected: tuple[str, ...]
    places: tuple[str, ...] = ()
    workload: str = "decode"
    promised: Promised | None = None
    is_stateful: bool = False

    @property
    def name(self) -> str:
        """How it is called in reports, ``growth:byte_per_block``."""
        return f"{self.group}:{self.function}"

    @property
    def spelling(self) -> str:
        """How it is named as a subject."""
        return f"{PACKAGE}.{self.group}:{self.function}"


@dataclass(frozen=True, slots=True)
class Twin:
    """A healthy step that is unusual and right: no detector may say anything of it.

    Attributes:
        group: its file in this package.
        function: its name in that file.
        oddity: what is unusual about it, in one line.
        workload: as of `Mutant`.
        breaks: properties that it breaks by its nature, and says so.
        promised: for a builder of its own, what it promises.
        is_stateful: as of `Mutant`.
    """

    group: str
    function: str
    oddity: str
    workload: str = "decode"
    breaks: tuple[str, ...] = ()
    promised: Promised | None = None
    is_stateful: bool = False

    @property
    def name(self) -> str:
        """How it is called in reports."""
        return f"{self.group}:{self.function}"

    @property
    def spelling(self) -> str:
        """How it is named as a subject."""
        return f"{PACKAGE}.{self.group}:{self.function}"


GROWING = "growing"
"""The function of `oom_suite.selfcheck.faults.limit` whose line is to be blamed."""


def name_of(num_blocks: int) -> str:
    """The step of `oom_suite.selfcheck.faults.limit` that grows by a byte for so many blocks."""
    return f"one_byte_for_{num_blocks}_blocks"
