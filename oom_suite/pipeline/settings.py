"""How code is judged: the sizes, the lanes, the limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oom_suite.targets.target import target
from oom_suite.workloads.sparse_mla.workload import DECODE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from oom_suite.records import Workload
    from oom_suite.targets.budgets import Budget

    OnProgress = Callable[[str, str], None]

DEFAULT_TIME_LIMIT_S = 120.0
MAX_TIME_LIMIT_S = 604_800.0
"""A week. The system waits for 24 days at most in one go: milliseconds in an int of 32 bits."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How subjects are judged.

    Attributes:
        scenario: the scenario's name.
        sizes: the axes' values.
        workload: what is run.
        lane: ``"shadow"``, or ``"measure"`` for shadow's law and real tensors beside it.
        device: the device of the measure lane.
        target: what the law is for, as `oom_suite.targets.target.target` takes it.
        budget: what the peak has to fit in; None for no budget.
        time_limit_s: seconds that one run may take.
        whole_limit_s: seconds that all runs of a subject may take together; None for no limit.
        memory_limit_bytes: address space that one child may add; None for no limit.
        unexplained_bytes: what the measure lane may find beyond the prediction.
        num_repeats: how often the measure lane runs the call; all runs must be equal.
        beside_sizes: sizes at which the shadow lane's law is measured too, where this machine
            can; None where that was not asked for.
        law_text: the law itself as reports show it; empty where any law will do that keeps the
            contract.
        suggest: whether a promise that would hold is looked for where this one is broken.
        instead_of: the folder of a working tree that the current one stands for, as a commit's
            files do; None for none. Code that is loaded from there is refused.
        usual_targets: those that a command to run next need not name; empty for the default ones
            of this machine.
    """

    scenario: str
    sizes: Mapping[str, int]
    workload: Workload = field(default=DECODE)
    lane: str = "shadow"
    device: str = "cpu"
    target: str = "generic"
    budget: Budget | None = None
    time_limit_s: float = DEFAULT_TIME_LIMIT_S
    whole_limit_s: float | None = None
    memory_limit_bytes: int | None = None
    unexplained_bytes: int = 0
    num_repeats: int = 1
    beside_sizes: Mapping[str, int] | None = None
    law_text: str = ""
    suggest: bool = False
    instead_of: Path | None = None
    usual_targets: tuple[str, ...] = ()

    @property
    def arch(self) -> str:
        """The architecture that subjects see: ``gfx942``, ``sm_90``; ``generic`` for none."""
        return target(self.target).arch or "generic"


def silent(name: str, message: str) -> None:
    """Progress for nobody."""
