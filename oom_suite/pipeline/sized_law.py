"""`oom_suite.law`: a builder's memory law, to be called, compared and inverted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from oom_suite.errors import LaneError, UsageError
from oom_suite.laws.proof import CLOSED_FORM
from oom_suite.laws.words import listed
from oom_suite.pipeline.judging import study
from oom_suite.pipeline.law_tests.promise import checked_sizes, varied_axes
from oom_suite.pipeline.predicting import lane_of, name_of, program_of
from oom_suite.pipeline.session import Session
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S, Settings
from oom_suite.records import Contract, KernelTerm, Law, Result, Verdict, Workload
from oom_suite.targets.budgets import budget as budget_of
from oom_suite.targets.default import default_target
from oom_suite.targets.target import target as target_of
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from oom_suite.laws.branches import Branch
    from oom_suite.laws.proof import Proof

_LARGEST = 1 << 48
"""Sizes that `SizedLaw.solve` goes up to."""

_NEAR = 256
"""Neighbouring sizes that are tried where a law speaks of multiples alone."""


@dataclass(frozen=True, eq=False)
class SizedLaw:
    """Peak requested bytes of a call as a function of its sizes.

    ``str(law)`` is the formula, as reports show it. Two laws are equal where their formulas are,
    those of other branches included, whatever they were found from.

    Attributes:
        formula: the maximum of polynomials that holds at the sizes it was found at.
        target: whom it is for.
        lower: the smallest size of each axis.
        notes: how it is known, and what else the reader must know, a clause each.
        proof: what symbols say, with the other branches; None where there is no proof.
        inside: what the target's kernels take beside the formula at most, a term for each
            operator and line.
    """

    formula: Law
    target: str
    lower: Mapping[str, int]
    notes: tuple[str, ...] = ()
    proof: Proof | None = None
    inside: tuple[KernelTerm, ...] = ()

    @property
    def sizes(self) -> Mapping[str, int]:
        """The sizes that it was found at, which hold where a call names no other."""
        return {name: self.formula.sizes[name] for name in self.lower}

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes that the peak depends on."""
        named = set(self.formula.axes)
        for quantity in self.proof.quantities if self.proof is not None else ():
            if quantity.name in named:
                follows = (quantity.value,) if quantity.value is not None else quantity.at_most
                named |= {name for formula in follows for name in formula.names}
        named = named.union(*(term.at_most.axes for term in self.inside))
        return tuple(name for name in self.lower if name in named)

    @property
    def is_proved(self) -> bool:
        """Whether it was proved in closed form; else it was fitted to exact runs and checked."""
        return self.proof is not None and self.proof.how == CLOSED_FORM

    def __call__(self, **sizes: int) -> int:
        """Peak requested bytes at these sizes; an axis that is not named is at the law's own.

        Sizes that data decides are at the most that they can be, and so is what kernels take.

        Raises:
            UsageError: there is no such axis, or nothing is known of these sizes.
        """
        values = {**self.sizes, **checked_sizes("law", sizes, self.lower)}
        return self._formula_bytes(values) + sum(int(term.at_most(values)) for term in self.inside)

    def _formula_bytes(self, values: Mapping[str, int]) -> int:
        if self.proof is not None and self.is_proved:
            branch = self.proof.branch_at(values)
            if branch is None:
                raise UsageError(f"no law was found at {listed(values)}: {self._domain()}")
            whole = _with_quantities(branch, values)
            if branch.law.axes <= whole.keys():
                return branch.law(whole)
        for axis, size in self.formula.held.items():
            if values.get(axis, size) != size:
                raise UsageError(f"the law holds for {axis}={size:,} alone: {self._domain()}")
        return self.formula(values)

    def solve(self, axis: str, budget: str | int, **fixed: int) -> int:
        """The largest size of an axis whose peak fits; one more does not.

        Args:
            axis: the axis that is asked for.
            budget: what the peak has to fit in: ``"12GiB"``, a device (``"H200"``), or bytes.
            fixed: sizes of other axes; the law's own where not given.

        Raises:
            UsageError: there is no such axis, every size fits, or none does.
        """
        checked_sizes("solve", {axis: 1}, self.lower)
        checked_sizes("solve", fixed, self.lower)
        if axis in fixed:
            raise UsageError(f"solve: {axis} is asked for and fixed at {fixed[axis]:,}")
        free_bytes = budget if isinstance(budget, int) else budget_of(budget).free_bytes

        def fits(size: int) -> bool | None:
            try:
                return self(**fixed, **{axis: size}) <= free_bytes
            except UsageError:
                return None

        shown = format_bytes(free_bytes)
        ends = _ends(fits, self.lower[axis])
        if ends is None:
            self(**fixed)
            raise UsageError(f"nothing fits {shown}: not even {axis}={self.lower[axis]:,} does")
        if ends[1] is None:
            raise UsageError(f"every {axis} fits {shown}: the peak does not outgrow it")
        return _between(fits, ends[0], ends[1])

    def __eq__(self, other: object) -> bool:
        """Whether the formulas are equal, term by term."""
        return isinstance(other, SizedLaw) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        """The formula, and what kernels take: ``256*num_tokens + at most 512 inside aten::sum``."""
        return " + ".join(map(str, (self.formula, *self.inside)))

    def __repr__(self) -> str:
        """The formula, its target, and how it is known."""
        how = f", {self.notes[0]}" if self.notes else ""
        return f"<law {self} for {self.target}{how}>"

    def _key(self) -> object:
        laws = [self.formula]
        if self.proof is not None and self.is_proved:
            laws += [branch.law for branch in self.proof.branches]
        formulas = frozenset(
            (
                frozenset(frozenset(regime.terms.items()) for regime in law.regimes),
                frozenset(law.held.items()),
            )
            for law in laws
        )
        return formulas, frozenset((one.op, str(one.at_most)) for one in self.inside)

    def _domain(self) -> str:
        return self.notes[0] if self.notes else f"it is {self.formula}"


def law(
    build: Callable[..., Any],
    axes: Mapping[str, int],
    *,
    target: str | None = None,
    in_child: bool = False,
    steps: Mapping[str, int] | None = None,
    far: Mapping[str, Sequence[int]] | None = None,
    lower: Mapping[str, int] | None = None,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
) -> SizedLaw:
    """The law of ``build(sizes, device)()``: its peak requested bytes at any sizes.

    It is found as `oom_suite.memory_law` finds one: proved on symbols where the code runs on
    them, fitted to exact runs otherwise, and each compared with the other.

    Args:
        build: makes the inputs and returns the call, as for `oom_suite.memory_law`.
        axes: the sizes that the law is found over, each with a value to begin with.
        target: the device, as for `oom_suite.predict`.
        in_child: as for `oom_suite.predict`; proof and fit then run side by side.
        steps: distance between neighbouring sizes of an axis, where code needs multiples.
        far: sizes of an axis, well away from its first, that the law is checked at.
        lower: smallest size of an axis that has a meaning; 1 where not given.
        time_limit_s: seconds that one run in a child may take.

    Raises:
        UsageError: the arguments cannot be used.
        LaneError: no law can be found; the message says why.
    """
    target = target or default_target()
    device, lane = target_of(target), lane_of(target)
    defaults = checked_sizes("axes", axes)
    if not defaults:
        raise UsageError("axes: name at least one, such as axes={'num_tokens': 4}")
    varied = varied_axes(defaults, defaults, steps=steps, far=far, lower=lower)
    workload = Workload("law", varied, builder="", contract=Contract())
    settings = Settings(
        "default", defaults, workload=workload, target=target, time_limit_s=time_limit_s
    )
    name = name_of(build)
    with Session.of(settings) as session:
        runs = session.open(program_of(build, in_child=in_child), name, target=target)
        found = study(runs, name, settings)
        result = found.result
        if result.law is None or result.verdict is not Verdict.PASS:
            raise LaneError(f"no law of {name}: {result.reason}")
    # The generic target's kernels take nothing inside: another's stand for them in verdicts alone.
    inside = result.inside if lane.scratch else ()
    notes = result.notes
    if result.unseen and lane.scratch:
        notes = (*notes, *_unbounded(result, inside))
    least = {axis.name: axis.lower for axis in varied}
    formula = _whole(found.proof, defaults) or result.law
    return SizedLaw(formula, device.name, least, notes, found.proof, inside)


def _unbounded(result: Result, inside: Sequence[KernelTerm]) -> Iterator[str]:
    """A clause for each operator that may take more than the law says: its kernels have no term."""
    known = {(term.op, term.where) for term in inside}
    for one in result.unseen:
        if (one.op, one.stack[0] if one.stack else None) not in known:
            where = f" at {one.stack[0]}" if one.stack else ""
            yield f"{one.op}{where} may take more: {one.reason}"


def _whole(proof: Proof | None, sizes: Mapping[str, int]) -> Law | None:
    """The proved law where it speaks of more than axes, which have a bound each; else None."""
    branch = None if proof is None else proof.branch_at(sizes)
    if branch is None or branch.law.axes <= sizes.keys():
        return None
    values = _with_quantities(branch, sizes)
    if not branch.law.axes <= values.keys():
        return None
    regimes = tuple(sorted(branch.law.regimes, key=lambda regime: -regime(values)))
    return replace(branch.law, regimes=regimes, sizes=dict(sizes))


def _with_quantities(branch: Branch, sizes: Mapping[str, int]) -> dict[str, int]:
    """The sizes, and what follows from them; what data decides at the most that it can be."""
    values = dict(sizes)
    for quantity in branch.trace.quantities:
        formulas = quantity.at_most if quantity.value is None else (quantity.value,)
        found = [int(formula(values)) for formula in formulas if formula.names <= values.keys()]
        if found:
            values[quantity.name] = min(found)
    return values


def _ends(fits: Callable[[int], bool | None], lower: int) -> tuple[int, int | None] | None:
    """The last size tried that fits, and the first one behind it that does not."""
    fitting = failing = None
    size = lower
    while size <= _LARGEST:
        known = next((n for n in range(size, size + _NEAR) if fits(n) is not None), None)
        if known is not None and fits(known):
            fitting, failing = known, None
        elif known is not None and failing is None:
            failing = known
        size *= 2
    return None if fitting is None else (fitting, failing)


def _between(fits: Callable[[int], bool | None], fitting: int, failing: int) -> int:
    """The last size that fits before one that does not; sizes without a law are passed over."""
    while True:
        middle = (fitting + failing) // 2
        near = (
            *range(middle, max(fitting, middle - _NEAR), -1),
            *range(middle + 1, min(failing, middle + _NEAR)),
        )
        known = next((n for n in near if fits(n) is not None), None)
        if known is None:
            return fitting
        if fits(known):
            fitting = known
        else:
            failing = known
