"""What is to be tried: each mutant under the detector meant for it, each twin under all."""

from __future__ import annotations

import gc
import importlib
from dataclasses import dataclass

from oom_suite.errors import unknown
from oom_suite.processes.protocol import Kept, Request
from oom_suite.records.safety import PROPERTIES
from oom_suite.records.selfcheck import LIMIT_GROUP, Seen
from oom_suite.selfcheck.faults.catalog import LAW, MUTANTS, TWINS
from oom_suite.selfcheck.faults.record import GROWING, Mutant, Twin, name_of
from oom_suite.selfcheck.layer import on_its_layer

TWINS_GROUP = "twins"


@dataclass(frozen=True, slots=True)
class Task:
    """One subject and the detectors to try on it.

    Attributes:
        subject: a mutant or a twin.
        detectors: by name.
        device: where real tensors lie.
    """

    subject: Mutant | Twin
    detectors: tuple[str, ...]
    device: str


def groups() -> tuple[str, ...]:
    """The groups that the self-check can be kept to."""
    return (*dict.fromkeys(mutant.group for mutant in MUTANTS), TWINS_GROUP, LIMIT_GROUP)


def tasks(only: str | None, device: str) -> list[Task]:
    """What is to be tried, the slowest first.

    Args:
        only: a group, or None for all.
        device: where real tensors lie.

    Raises:
        UsageError: there is no such group.
    """
    if only is not None and only not in groups():
        raise unknown("group", only, groups())
    twins = [
        Task(on_its_layer(twin), (LAW,) if twin.promised else (LAW, *PROPERTIES), device)
        for twin in TWINS
        if only in {None, TWINS_GROUP}
    ]
    mutants = [
        Task(on_its_layer(mutant), (mutant.detector,), device)
        for mutant in MUTANTS
        if only in {None, mutant.group}
    ]
    return sorted((*twins, *mutants), key=lambda task: _rank(task, device))


def _rank(task: Task, device: str) -> tuple[bool, bool, bool, bool]:
    """What comes first: on a GPU, what has a process of its own; twins; laws.

    On a CPU what keeps state comes after its like: the forks of its law find in the child what
    torch computed for those.
    """
    is_stateful = task.subject.is_stateful
    is_own = device != "cpu" and is_stateful
    return not is_own, len(task.detectors) == 1, LAW not in task.detectors, is_stateful


def growing(num_blocks: int) -> Task:
    """A step that grows by one byte for so many blocks, under the law."""
    name = name_of(num_blocks)
    fault = f"one byte per {num_blocks:,} blocks"
    mutant = Mutant(LIMIT_GROUP, name, LAW, fault, (GROWING,))
    return Task(on_its_layer(mutant), (LAW,), "cpu")


@dataclass(frozen=True, slots=True)
class Try(Request[tuple[Seen, ...]]):
    """What detectors see of one fault or twin.

    Attributes:
        task: which, and which detectors.
        weakened: ``"module:function"`` that makes detectors worse before the first task, to see
            that the self-check sees that; empty for none.
    """

    task: Task
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

    def answer(self, kept: Kept) -> tuple[Seen, ...]:
        """What each detector saw, in their order."""
        from oom_suite.processes.askers import InThisProcess
        from oom_suite.selfcheck.child import tried

        return tried(self.task, kept.get("here", InThisProcess))
