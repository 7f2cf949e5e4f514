"""What is found of one commit's code, and what a search over commits ends with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oom_suite.records.result import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.records.lock import Difference, Entry


@dataclass(frozen=True, slots=True)
class Place:
    """A guilty line.

    Attributes:
        file: its file, from the folder that was judged in.
        line: its number, from 1.
        function: the function that it stands in.
        axis: the axis that its bytes grow with.
        bytes_per_unit: how much one more of that axis adds to it.
    """

    file: str
    line: int
    function: str
    axis: str
    bytes_per_unit: float

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Place:
        """The line of JSON values that may hold more than it needs."""
        return cls(**{name: values[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of one subject on one workload, or of one test.

    Attributes:
        name: the subject's spelling, or the test's id.
        workload: the workload's name; empty for a test without one.
        verdict: PASS is good, FAIL is bad, INCONCLUSIVE is neither.
        reason: one line: why.
        law: the law at the scenario, as text; empty where none was found.
        peak_requested_bytes: the peak at the scenario; None where it was not run.
        blame: the guilty lines, largest first.
        entries: the laws in a form that can be compared: the device's under ``"device"``, those
            of the host's memory under its kinds.
        difference: how the law differs from the one that it is compared with; None where it is
            compared with none.
        is_baseline: whether others are held to its law, which has the asked axis already.
        judged_as: the exact configuration: workload, sizes, target, and what good is.
    """

    name: str
    workload: str
    verdict: Verdict
    reason: str
    law: str = ""
    peak_requested_bytes: int | None = None
    blame: tuple[Place, ...] = ()
    entries: Mapping[str, Entry] = field(default_factory=dict)
    difference: Difference | None = None
    is_baseline: bool = False
    judged_as: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON values; laws that can be compared are left out."""
        return {
            "name": self.name,
            "workload": self.workload,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "law": self.law,
            "peak_requested_bytes": self.peak_requested_bytes,
            "blame": [each.to_json() for each in self.blame],
            "difference": None if self.difference is None else self.difference.to_json(),
            "judged_as": self.judged_as,
        }


@dataclass(frozen=True, slots=True)
class Judged:
    """What a predicate says of the code as it is.

    Attributes:
        findings: what was found, workload by workload or test by test.
        problem: why nothing could be judged at all; empty where something was.
    """

    findings: tuple[Finding, ...] = ()
    problem: str = ""

    @property
    def verdict(self) -> Verdict:
        """FAIL where anything fails, INCONCLUSIVE where anything is, or nothing was judged."""
        found = {each.verdict for each in self.findings}
        if Verdict.FAIL in found:
            return Verdict.FAIL
        if Verdict.INCONCLUSIVE in found or not found:
            return Verdict.INCONCLUSIVE
        return Verdict.PASS

    @property
    def reason(self) -> str:
        """Why, in one line."""
        same = [each for each in self.findings if each.verdict is self.verdict]
        return next((each.reason for each in same), self.problem or "nothing was judged")

    @property
    def blame(self) -> tuple[Place, ...]:
        """The guilty lines of all findings, each once."""
        return tuple(dict.fromkeys(line for each in self.findings for line in each.blame))


@dataclass(frozen=True, slots=True)
class Step:
    """One commit that was judged.

    Attributes:
        commit: its full name.
        title: its first digits and the first line of its message.
        judged: what was found.
        elapsed_s: seconds that it took.
        end: ``"good"`` or ``"bad"`` for an end of the search, else empty.
        is_kept: whether that was found in an earlier run, of the same content.
    """

    commit: str
    title: str
    judged: Judged
    elapsed_s: float
    end: str = ""
    is_kept: bool = False

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "commit": self.commit,
            "title": self.title,
            "end": self.end,
            "verdict": self.judged.verdict.value,
            "reason": self.judged.reason,
            "elapsed_s": round(self.elapsed_s, 3),
            "is_kept": self.is_kept,
            "findings": [each.to_json() for each in self.judged.findings],
        }


@dataclass(frozen=True, slots=True)
class CommitSearch:
    """Where the commits of a repository, or the releases of a package, change from good to bad.

    Attributes:
        first: the first commit that is as the newer end is.
        before: the last one found that is as the older end is.
        unjudged: commits that could not be judged, any of which may be the first one instead.
        steps: every commit that was judged, in the order of the search.
        is_repair: whether the newer end is the good one.
        changes: how the laws changed from `before` to `first`.
        diff: the change of the guilty lines' files between the two, as git shows it.
        turns: every change of the verdict that was seen where all were judged, the oldest first;
            `before` and `first` are the last of them.
        noun: what was searched: ``commit`` or ``release``.
        made_with: the versions that all of them were judged with, where it was one Python.
    """

    first: Step
    before: Step
    unjudged: tuple[Step, ...]
    steps: tuple[Step, ...]
    is_repair: bool
    changes: tuple[Difference, ...] = ()
    diff: tuple[str, ...] = ()
    turns: tuple[tuple[str, str], ...] = ()
    noun: str = "commit"
    made_with: str = ""

    @property
    def judged_as(self) -> tuple[str, ...]:
        """The exact configurations that were judged, each once."""
        found = (each.judged_as for step in self.steps for each in step.judged.findings)
        return tuple(dict.fromkeys(each for each in found if each))

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "first": self.first.commit,
            "before": self.before.commit,
            "is_repair": self.is_repair,
            "unjudged": [step.commit for step in self.unjudged],
            "changes": [each.to_json() for each in self.changes],
            "diff": list(self.diff),
            "turns": [list(turn) for turn in self.turns],
            "judged_as": list(self.judged_as),
            "made_with": self.made_with,
            "steps": [step.to_json() for step in self.steps],
        }
