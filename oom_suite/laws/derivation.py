"""What is known of one subject after its runs: a law, and the evidence for and against it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.laws.bound import Excess
    from oom_suite.laws.evidence import Dependence
    from oom_suite.laws.fit import Regime
    from oom_suite.laws.sites import Place
    from oom_suite.records import Law, Trace


@dataclass(frozen=True, slots=True)
class Change:
    """Sizes at which the law found near the scenario no longer says what is allocated.

    Attributes:
        moved: the axes that differ from the scenario, and their values.
        predicted_bytes: the peak that the law says; -1 where it says no whole number.
        actual_bytes: the peak that the exact run gave.
        law: the law found there, around those sizes.
        regimes: its regimes, with what is alive in each.
    """

    moved: Mapping[str, int]
    predicted_bytes: int
    actual_bytes: int
    law: Law
    regimes: tuple[Regime, ...]


@dataclass(frozen=True, slots=True)
class Violation:
    """A run whose peak is over the contract's bound."""

    sizes: Mapping[str, int]
    peak_bytes: int
    limit_bytes: int
    trace: Trace


@dataclass(frozen=True, slots=True)
class Derivation:
    """A law and the evidence for it.

    Attributes:
        law: the law near the scenario, regimes that another covers left out.
        regimes: its regimes, the scenario's own first, with what is alive in each.
        trace: the run at the scenario.
        elsewhere: other laws, found where this one does not hold.
        exceptions: further sizes at which the peak is not the law's, without a law of their own.
        irregular: axes along which no polynomial fits near the scenario, each with why.
        fixed: axes that could not be varied near the scenario, each with why.
        uneven: axes along which something below the peak follows no polynomial, each with what.
        compared: for each forbidden axis, the values it was compared at with all else the same.
        dependences: runs that differ in forbidden axes alone and do not allocate alike.
        unseen: for each forbidden axis, operators with unseen scratch whose input varies with it.
        refused: sizes that could not be run, each with why.
        violations: runs over the contract's bound, the smallest peak first.
        excesses: regimes that are not provably within the bound.
        unrecorded: what runs did where no lane looks, or should have done, each in a clause.
        unsteady: how a second run at the scenario differed from the first; empty when not.
        is_proved: whether it is a proof's own law, for all sizes, which every exact run follows.
    """

    law: Law
    regimes: tuple[Regime, ...]
    trace: Trace
    elsewhere: tuple[Change, ...] = ()
    exceptions: tuple[Mapping[str, int], ...] = ()
    irregular: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    uneven: Mapping[str, str] = field(default_factory=dict)
    compared: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dependences: tuple[Dependence, ...] = ()
    unseen: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)
    refused: tuple[tuple[Mapping[str, int], str], ...] = ()
    violations: tuple[Violation, ...] = ()
    excesses: tuple[Excess, ...] = ()
    unrecorded: tuple[str, ...] = ()
    unsteady: str = ""
    is_proved: bool = False

    @property
    def is_global(self) -> bool:
        """Whether the one law gave the peak of every run, near and far, in every axis varied."""
        return not (self.elsewhere or self.exceptions or self.irregular)

    @property
    def is_whole(self) -> bool:
        """Whether it is global and nothing below the peak is without a formula."""
        return self.is_global and not self.uneven

    def rises_in(self, axis: str) -> bool:
        """Whether the peak is proved to go on growing with an axis, whatever the other sizes."""
        formulas = (regime.polynomial for regime in self.regimes if self.is_proved)
        return any(
            axis in formula.axes
            and all(number > 0 for names, number in formula.terms.items() if axis in names)
            for formula in formulas
        )
