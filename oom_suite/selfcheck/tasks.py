"""What is to be tried: each mutant under the detector meant for it, each twin under all."""

from __future__ import annotations

import gc
import importlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oom_suite.errors import UsageError, unknown
from oom_suite.processes.protocol import Kept, Request
from oom_suite.records.safety import PROPERTIES
from oom_suite.records.selfcheck import LIMIT_GROUP, TWINS_GROUP, Trial
from oom_suite.selfcheck.faults.catalog import SUBJECTS
from oom_suite.selfcheck.faults.record import LAW, Mutant, Subject

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Task(Request[tuple[Trial, ...]]):
    """One subject and the detectors to try on it; a child answers with what they say.

    Attributes:
        subject: a mutant or a twin, in its cheapest form.
        detectors: by name.
        device: where real tensors lie.
        weakened: ``"module:function"`` that makes detectors worse before the first task, to see
            that the self-check fails then; empty for none.
    """

    subject: Subject
    detectors: tuple[str, ...]
    device: str
    weakened: str = ""

    def prepare(self, kept: Kept) -> None:
        """Make detectors worse, where that is asked for; once a process."""
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


def subjects_with(registered: Sequence[Subject] = ()) -> tuple[Subject, ...]:
    """The suite's own mutants and twins, and those that others registered.

    Raises:
        UsageError: two have the same name, or one is in a group that has a meaning of its own.
    """
    found: dict[str, Subject] = {}
    for subject in (*SUBJECTS, *registered):
        if subject.name in found:
            both = f"{found[subject.name].spelling} and {subject.spelling}"
            raise UsageError(f"two faults are called {subject.name}, {both}: rename one")
        if subject.group == LIMIT_GROUP or (subject.group == TWINS_GROUP and not subject.is_twin):
            msg = f"{subject.spelling} is in the group {subject.group!r}, which is not for mutants"
            raise UsageError(f"{msg}: rename its file")
        found[subject.name] = subject
    return tuple(found.values())


def groups(subjects: Sequence[Subject] = SUBJECTS) -> tuple[str, ...]:
    """The groups that the self-check can be kept to."""
    own = dict.fromkeys(subject.group for subject in subjects if not subject.is_twin)
    return (*own, TWINS_GROUP, LIMIT_GROUP)


def tasks(
    only: str | None, device: str, subjects: Sequence[Subject] = SUBJECTS, weakened: str = ""
) -> list[Task]:
    """What is to be tried, the slowest first.

    Args:
        only: a group, or None for all.
        device: where real tensors lie.
        subjects: the mutants and twins there are.
        weakened: as of `Task`.

    Raises:
        UsageError: there is no such group.
    """
    if only is not None and only not in groups(subjects):
        raise unknown("group", only, groups(subjects))
    found = [
        Task(subject.in_cheapest_form(), _detectors(subject), device, weakened)
        for subject in subjects
        if only in {None, TWINS_GROUP if subject.is_twin else subject.group}
    ]
    return sorted(found, key=lambda task: _rank(task, device))


def _detectors(subject: Subject) -> tuple[str, ...]:
    if isinstance(subject, Mutant):
        return (subject.detector,)
    return (LAW,) if subject.promised else (LAW, *PROPERTIES)


def _rank(task: Task, device: str) -> tuple[bool, ...]:
    """What comes first: on a GPU, what has a process of its own; twins; laws.

    On a CPU stateful subjects run after the stateless ones: the forks of their law find in the
    child what torch computed for those.
    """
    is_stateful = task.subject.is_stateful
    is_own = device != "cpu" and is_stateful
    is_short = (len(task.detectors) == 1, LAW not in task.detectors)
    return not is_own, *is_short, is_stateful, not task.subject.is_twin
