"""What a profile run covers: the promise over a box of sizes, and what was found of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.records.law import Polynomial
    from oom_suite.records.symbolic import Formula

Box = tuple[tuple[str, int, int], ...]
"""Axes, each with its least and its largest size; both can be reached."""


@dataclass(frozen=True, slots=True)
class CoveredBy:
    """The promise that a peak is nowhere above what a profile run took.

    Attributes:
        box: the sizes that can come later; an axis that is not named stays at the scenario's size.
        num_bytes: what the profile run took; None where it ran the same code at `sizes`.
        sizes: the sizes that the profile run ran the same code at; empty where the figure is given.
        what: what the figure is, in words that follow "covered by".
    """

    box: Box
    num_bytes: int | None = None
    sizes: tuple[tuple[str, int], ...] = ()
    what: str = "the profile run"

    def allowed(self, num_bytes: int) -> CoveredBy:
        """The same promise with the profile run's bytes known."""
        return CoveredBy(self.box, num_bytes, self.sizes, self.what)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is known of a peak over a box of sizes, beside what a profile run took.

    Attributes:
        allowed_bytes: what the profile run took.
        box: the sizes that can come later.
        most_bytes: the largest peak that was found; None where none is known.
        sizes: where it is; empty where none is known.
        is_most: whether no larger peak is in the box: `most_bytes` is its exact maximum.
        at_most_bytes: what no peak in the box is above; None where nothing bounds it.
        formula: the polynomial that is the peak at `sizes`; None where none is known to be.
        decided: names in `formula` that are no axes, each with its largest value at `sizes`.
        gap: what is not decided, in a clause; empty where all is.
        gap_sizes: sizes in the part that is not decided; empty where all is.
    """

    allowed_bytes: int
    box: Box
    most_bytes: int | None = None
    sizes: Mapping[str, int] = field(default_factory=dict, hash=False)
    is_most: bool = False
    at_most_bytes: int | None = None
    formula: Polynomial | None = field(default=None, hash=False)
    decided: Mapping[str, int] = field(default_factory=dict, hash=False)
    gap: str = ""
    gap_sizes: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def over_bytes(self) -> int:
        """The bytes that are not covered at `sizes`; 0 where all that was found are."""
        return max(0, (self.most_bytes or 0) - self.allowed_bytes)

    @property
    def is_broken(self) -> bool:
        """Whether a peak above the profile run's was found."""
        return self.over_bytes > 0

    @property
    def is_kept(self) -> bool:
        """Whether no peak in the box is above the profile run's."""
        return self.at_most_bytes is not None and self.at_most_bytes <= self.allowed_bytes

    def to_json(self) -> dict[str, Any]:
        """As JSON values; the formula as text."""
        return {
            "allowed_bytes": self.allowed_bytes,
            "box": {axis: [least, most] for axis, least, most in self.box},
            "most_bytes": self.most_bytes,
            "sizes": dict(self.sizes),
            "is_most": self.is_most,
            "at_most_bytes": self.at_most_bytes,
            "over_bytes": self.over_bytes,
            "formula": None if self.formula is None else str(self.formula),
            "decided": dict(self.decided),
            "gap": self.gap,
            "gap_sizes": dict(self.gap_sizes),
        }


@dataclass(frozen=True, slots=True)
class Step:
    """What a server runs after its profile run, and what that run does in its place.

    Formulas are in the server's flags and the model's sizes, by the names that
    `oom_suite.pipeline.serving.Server` gives them.

    Attributes:
        name: what it is called, such as ``"decode-c4a"``.
        workload: the workload that runs it.
        box: axes of the workload, each with the least and the largest size that can come.
        num_bytes: what the profile run takes in its place, and gives back or leaves for it.
        runs: what the profile run does there, in one clause.
        where: the file and line that do it, from the release's root.
    """

    name: str
    workload: str
    box: tuple[tuple[str, Formula, Formula], ...]
    num_bytes: Formula
    runs: str
    where: str


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile run of one release, as its source has it.

    Attributes:
        release: the release.
        backend: whose path it is: ``"cuda"`` or ``"rocm"``.
        where: the line that runs the model without attention's metadata.
        steps: what can come later.
    """

    release: str
    backend: str
    where: str
    steps: tuple[Step, ...]
