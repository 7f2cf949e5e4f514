"""What a child process is told: where a decorated function lies, and what to run it as."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Target:
    """A builder that another process can find.

    Attributes:
        file: its file.
        module: the name under which pytest imported that file.
        qualname: its name in there, ``test_f`` or ``TestClass.test_f``.
        root: the folder that source paths are shown relative to.
        arguments: further arguments of the builder, by name.
    """

    file: str
    module: str
    qualname: str
    root: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def in_lane(self, lane: str, device: str) -> LawJob:
        """The job of running it in this lane."""
        return LawJob(self, lane, device)


@dataclass(frozen=True, slots=True)
class LawJob:
    """One target in one lane of `oom_suite.pipeline.law_tests.lanes.runner`, on a device."""

    target: Target
    lane: str
    device: str
