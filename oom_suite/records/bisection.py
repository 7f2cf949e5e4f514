"""A bisection: two neighbouring versions with different verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.records.result import Verdict

if TYPE_CHECKING:
    from oom_suite.records.result import Result


@dataclass(frozen=True, slots=True)
class Bisection:
    """Where the verdict changes.

    Attributes:
        before: the older neighbour's result.
        after: the newer neighbour's result.
        unjudged: results between them that were inconclusive; the change may be in any.
        tried: every result, oldest first.
    """

    before: Result
    after: Result
    unjudged: tuple[Result, ...]
    tried: tuple[Result, ...]

    @property
    def is_cure(self) -> bool:
        """Whether the newer neighbour is the good one."""
        return self.after.verdict is Verdict.PASS
