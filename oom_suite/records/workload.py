"""A workload: the axes a call is built from, its builder, and what it promises."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.records.law import Contract


@dataclass(frozen=True, slots=True)
class Axis:
    """A named size.

    Attributes:
        name: its name, everywhere the same.
        step: distance between the sizes that its polynomial is fitted to.
        far: sizes well away from any scenario, small and large, that a law is checked on.
        lower: smallest value with a meaning.
        unit: what one of it is called in a sentence, for example ``"block"``.
    """

    name: str
    step: int
    far: tuple[int, ...]
    lower: int = 1
    unit: str = "unit"


def _as_they_are(sizes: Mapping[str, int]) -> Mapping[str, int]:
    return dict(sizes)


@dataclass(frozen=True, slots=True)
class Workload:
    """What is run, whoever runs it.

    Attributes:
        name: its name on the command line.
        axes: the sizes that a law is found over; others of a scenario are held.
        builder: ``"module:function"``; ``function(sizes, device)`` gives the keyword
            arguments of the call.
        contract: what every subject promises.
        leaves_inputs_untouched: whether the builder only reserves its inputs' memory, so that they
            take none until the call touches them.
        settle: the nearest sizes that can be built, a dependent axis following the others;
            None when there are none.
    """

    name: str
    axes: tuple[Axis, ...]
    builder: str
    contract: Contract
    leaves_inputs_untouched: bool = False
    settle: Callable[[Mapping[str, int]], Mapping[str, int] | None] = field(default=_as_they_are)

    def is_valid(self, sizes: Mapping[str, int]) -> bool:
        """Whether these very sizes can be built."""
        return self.settle(sizes) == dict(sizes)

    def unit_of(self, axis: str) -> str:
        """What one of that axis is called in a sentence."""
        return next((a.unit for a in self.axes if a.name == axis), "unit")
