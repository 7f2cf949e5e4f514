"""What broke a promise: the terms of the formula that does, and the lines behind them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.records.law import Polynomial


@dataclass(frozen=True, slots=True)
class Blame:
    """A source line whose allocation is alive at the peak and grows with a forbidden axis.

    Attributes:
        file: path relative to the subject's root.
        line: line number, from 1.
        function: the function that the line stands in.
        bytes: what it holds at `sizes`, at the peak.
        axis: the forbidden axis it grows with.
        bytes_per_unit: how much one more of that axis adds to it at `sizes`.
        sizes: the sizes that the bytes belong to; empty for the scenario's.
    """

    file: str
    line: int
    function: str
    bytes: int
    axis: str
    bytes_per_unit: float
    sizes: Mapping[str, int] = field(default_factory=dict, hash=False)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "sizes": dict(self.sizes)}


@dataclass(frozen=True, slots=True)
class Breach:
    """The part of a law that breaks a promise.

    Attributes:
        sizes: where it does; empty for the scenario.
        formula: the formula that does; None where the bytes follow none that is known.
        terms: those of its terms that do, a polynomial each.
        seen: what was seen instead of a formula, in one clause; empty where there is one.
        memory: ``host memory`` or ``pinned host memory``; empty for the device's.
    """

    sizes: Mapping[str, int] = field(default_factory=dict, hash=False)
    formula: Polynomial | None = None
    terms: tuple[Polynomial, ...] = ()
    seen: str = ""
    memory: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON values; formulas as text."""
        return {
            "sizes": dict(self.sizes),
            "formula": None if self.formula is None else str(self.formula),
            "terms": [str(term) for term in self.terms],
            "seen": self.seen,
            "memory": self.memory,
        }
