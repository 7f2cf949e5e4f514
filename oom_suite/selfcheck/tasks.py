"""What is to be tried: each mutant under the detector meant for it, each twin under all."""

from __future__ import annotations

import enum
import gc
import importlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oom_suite.errors import unknown
from oom_suite.processes.protocol import Kept, Request
from oom_suite.records.selfcheck import LIMIT_GROUP, TWINS_GROUP, Trial
from oom_suite.selfcheck.faults.record import LAW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oom_suite.selfcheck.faults.record import Subject


class Half(enum.Enum):
    """A part of the self-check; the two have no trial in common."""

    QUICK = "quick"
    """Every mutant and every twin once, under the detector meant for it."""
    LONG = "long"
    """Every twin under the other detectors."""


@dataclass(frozen=True, slots=True)
class Task(Request[tuple[Trial, ...]]):
    """One subject and the detectors to try on it; a child answers with what they say.

    Attributes:
        subject: a mutant or a twin, in its cheapest form.
        detectors: by name.
        device: where real tensors lie.
        weakened: ``"module:function"`` that makes detectors worse before the first task, to see
            that the self-check fails then; empty for none.
        interprets: whether Triton interprets the subject's kernels, in a process for that.
    """

    subject: Subject
    detectors: tuple[str, ...]
    device: str
    weakened: str = ""
    interprets: bool = False

    def prepare(self, kept: Kept) -> None:
        """Once a process: choose Triton's interpreter and make detectors worse, where asked for."""
        if self.interprets:
            kept.get("interprets", _interpret)
        kept.get(("weakened", self.weakened), self._weaken)

    def _weaken(self) -> bool:
        # What is there lives as long as the process: no collection need look at it.
        gc.freeze()
        if self.weakened:
            module, _, function = self.weakened.partition(":")
            getattr(importlib.import_module(module), function)()
        return True

    def answer(self, kept: Kept) -> tuple[Trial, ...]:
        """A trial for each detector, in their order."""
        from oom_suite.processes.askers import InThisProcess
        from oom_suite.selfcheck.child import trials_of

        return trials_of(self, kept.get("here", InThisProcess))

    def only(self, *detectors: str) -> Task:
        """The same with these detectors alone."""
        return replace(self, detectors=tuple(one for one in self.detectors if one in detectors))

    def without(self, *detectors: str) -> Task:
        """The same without these detectors."""
        return replace(self, detectors=tuple(one for one in self.detectors if one not in detectors))


def _interpret() -> bool:
    import torch

    from oom_suite.safety.triton_interpreter import interpret_triton

    torch.set_num_threads(1)
    return interpret_triton()


def groups(subjects: Sequence[Subject]) -> tuple[str, ...]:
    """The groups that the self-check can be kept to."""
    own = dict.fromkeys(subject.group for subject in subjects if not subject.is_twin)
    return (*own, TWINS_GROUP, LIMIT_GROUP)


def _refuse_unknown(only: str, subjects: Sequence[Subject]) -> None:
    """Nothing, where there is such a group, or a fault or twin of that name.

    Raises:
        UsageError: there is not; the message names the nearest.
    """
    names = [subject.name for subject in subjects]
    if only in {*names, *groups(subjects)}:
        return
    beside = [name for name in names if name.partition(":")[0] == only.partition(":")[0]]
    if beside:
        raise unknown("fault", only, beside)
    raise unknown("group", only, groups(subjects))


def tasks(
    subjects: Sequence[Subject],
    device: str,
    *,
    only: str | None = None,
    half: Half | None = None,
    weakened: str = "",
) -> list[Task]:
    """What is to be tried, the slowest first.

    Args:
        subjects: the mutants and twins there are.
        device: where real tensors lie.
        only: a group, or one mutant or twin by its name; None for all.
        half: which trials; None for all.
        weakened: as of `Task`.

    Raises:
        UsageError: there is no such group or name.
    """
    if only is not None:
        _refuse_unknown(only, subjects)
    found = [
        Task(subject.in_cheapest_form(), detectors, device, weakened)
        for subject in subjects
        if only in {None, subject.score_group, subject.name}
        if (detectors := _detectors(subject, half))
    ]
    return sorted(found, key=lambda task: _rank(task, device))


def _detectors(subject: Subject, half: Half | None) -> tuple[str, ...]:
    meant = (subject.detector,)
    if half is Half.QUICK or not subject.is_twin:
        return () if half is Half.LONG else meant
    return tuple(one for one in subject.detectors if half is None or one not in meant)


def _rank(task: Task, device: str) -> tuple[bool, ...]:
    """What comes first: on a GPU, what has a process of its own; twins; laws.

    On a CPU stateful subjects run after the stateless ones: the forks of their law find in the
    child what torch computed for those.
    """
    is_stateful = task.subject.is_stateful
    is_own = device != "cpu" and is_stateful
    is_short = (len(task.detectors) == 1, LAW not in task.detectors)
    return not is_own, *is_short, is_stateful, not task.subject.is_twin
