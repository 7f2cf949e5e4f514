"""A replay: an incident's headroom, who ran out of memory in it, and who did not."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.records.frame import Frame
    from oom_suite.records.measurement import Environment, OutOfMemory


class Role(enum.Enum):
    """What a subject is in the story."""

    CULPRIT = "culprit"
    FIX = "fix"


class End(enum.Enum):
    """How a subject's call ended."""

    RAN = "ran"
    OUT_OF_MEMORY = "out of memory"
    LEFT_OUT = "left out"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the shadow lane says of a subject at the scenario, without a device.

    Attributes:
        input_bytes: what the inputs take, the pools above all.
        peak_bytes: the largest live sum of requests.
        request_bytes: the first request that does not fit the headroom; None where all do.
        where: the line that makes it.
        held_bytes: the most that is held before that request, or in all where every one fits.
    """

    input_bytes: int
    peak_bytes: int
    request_bytes: int | None = None
    where: Frame | None = None
    held_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One subject in the headroom.

    Attributes:
        subject: its spelling.
        role: what is expected of it: a culprit runs out of memory, a fix runs.
        end: what happened. `End.LEFT_OUT` is no failure: it cannot be run on this machine.
        reason: why it was left out or not run, in one clause.
        predicted: the shadow lane's answer, given beforehand; None where that failed too.
        peak_bytes: the largest live sum of requests that was measured.
        taken_bytes: how much of the headroom it took: on a GPU what the allocator reserved.
        out_of_memory: the request that could not be served.
        environment: where it ran.
    """

    subject: str
    role: Role
    end: End
    reason: str = ""
    predicted: Prediction | None = None
    peak_bytes: int | None = None
    taken_bytes: int | None = None
    out_of_memory: OutOfMemory | None = None
    environment: Environment | None = None

    @property
    def as_expected(self) -> bool:
        """Whether it did what its role says."""
        return self.end is (End.OUT_OF_MEMORY if self.role is Role.CULPRIT else End.RAN)


@dataclass(frozen=True, slots=True)
class Replay:
    """What happened when an incident was replayed.

    Attributes:
        scenario: its name.
        summary: what the scenario stands for.
        sizes: the axes' values.
        device: where it ran, ``cpu`` or ``cuda``.
        headroom_bytes: what was left free for each call.
        by: how: ``"ballast"`` or ``"limit"``.
        attempts: in the order in which they ran.
        notes: what the reader must know besides, one clause each.
        cannot: why nothing could be run here, and what would be needed; otherwise empty.
    """

    scenario: str
    summary: str
    sizes: Mapping[str, int]
    device: str
    headroom_bytes: int
    by: str
    attempts: tuple[Attempt, ...] = ()
    notes: tuple[str, ...] = ()
    cannot: str = ""

    def of(self, role: Role) -> tuple[Attempt, ...]:
        """The attempts in that role."""
        return tuple(attempt for attempt in self.attempts if attempt.role is role)

    @property
    def exit_code(self) -> int:
        """0: culprits ran out of memory, fixes ran; 1: one did otherwise; 3: one was not run."""
        ends = [attempt for attempt in self.attempts if attempt.end is not End.LEFT_OUT]
        if any(not a.as_expected and a.end is not End.NOT_RUN for a in ends):
            return 1
        undecided = bool(self.cannot) or not ends or any(a.end is End.NOT_RUN for a in ends)
        return 3 if undecided else 0

    def to_json(self) -> dict[str, Any]:
        """The replay as JSON values."""
        return {
            "scenario": self.scenario,
            "sizes": dict(self.sizes),
            "device": self.device,
            "headroom_bytes": self.headroom_bytes,
            "headroom_by": self.by,
            "exit_code": self.exit_code,
            "cannot": self.cannot,
            "notes": list(self.notes),
            "attempts": [
                {**asdict(attempt), "role": attempt.role.value, "end": attempt.end.value}
                for attempt in self.attempts
            ],
        }
