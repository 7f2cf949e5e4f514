"""The promise `covered_by`: a peak is nowhere in a box of sizes above what a profile run took."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError
from oom_suite.laws.blame import blame_excess
from oom_suite.laws.branches import Branch, distinct_within
from oom_suite.laws.breach import largest_terms, regime_of
from oom_suite.laws.closed_form import closed_form
from oom_suite.laws.covering import Piece, covering, piece_of
from oom_suite.laws.explorer import LONGEST
from oom_suite.laws.plain_words import plain
from oom_suite.laws.proof import CLOSED_FORM, DisagreementError
from oom_suite.laws.words import join, listed
from oom_suite.pipeline.advising import DISAGREEMENT, TARGET
from oom_suite.pipeline.breaking import regimes_of
from oom_suite.pipeline.inside import unbounded_at
from oom_suite.pipeline.proved import kept_too, weakened
from oom_suite.records import Breach, Verdict
from oom_suite.records.symbolic import Hints

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from oom_suite.laws.covering.intervals import Ranges
    from oom_suite.laws.derivation import Derivation
    from oom_suite.laws.fit import Regime
    from oom_suite.laws.proof import Proof
    from oom_suite.pipeline.runs import Runs
    from oom_suite.pipeline.settings import Settings
    from oom_suite.records import Coverage, CoveredBy, KernelTerm, Polynomial, Result
    from oom_suite.records.covering import Box

MAX_EXPLORED = 256
"""Symbolic runs, at most, that are made for parts of a box that no law speaks of."""

_NARROWER = (
    "name a narrower box, which fewer branches of the code are in, or measure the step at its "
    "largest sizes on a device"
)


def with_coverage(
    result: Result, runs: Runs, settings: Settings, derivation: Derivation, proof: Proof | None
) -> Result:
    """The result with what is known of the promise `covered_by`.

    The law is the proved one, on both sides of its guards; where none of it speaks of a part of
    the box, the code is run on symbols there. The largest peak is held against an exact run.

    **Does not prove:** more than the law does; and what the profile run took is taken as it was
    given, or as the same code takes it at the profile's sizes.
    """
    promise = settings.workload.contract.covered_by
    if promise is None:
        return result
    inside = tuple(term.at_most for term in result.inside)
    explored = _Explored(runs, settings, inside)
    try:
        allowed_bytes = _allowed_bytes(promise, runs, settings, result.inside)
        pieces = explored.known(proof)
        box = whole_box(promise.box, settings.sizes)
        settle = settings.workload.settle
        coverage = covering(pieces, box, allowed_bytes, settle, explored.explore)
        coverage = _with_runs(coverage, runs, settings)
    except DisagreementError as error:
        return weakened(result, str(error), DISAGREEMENT)
    except OomSuiteError as error:
        return weakened(result, f"not shown to be covered by {promise.what}: {error}")
    result = replace(result, coverage=coverage)
    if coverage.is_broken:
        regimes = (*regimes_of(derivation, proof), *explored.regimes)
        return _broken(result, coverage, promise, regimes)
    if not coverage.is_kept:
        reason = f"not shown to be covered by {promise.what}: {_gap(coverage)}"
        return weakened(result, reason, _NARROWER)
    unbounded = unbounded_at(coverage.sizes or settings.sizes, runs, settings)
    if unbounded:
        reason = f"{unbounded} takes scratch that nothing bounds: it may not be covered"
        return weakened(result, reason, TARGET)
    most = f"at most {coverage.at_most_bytes:,} of its {allowed_bytes:,} bytes"
    kept = f"covered by {promise.what}: {most}"
    return kept_too(result, kept) if result.verdict is Verdict.PASS else result


def whole_box(box: Box, sizes: Mapping[str, int]) -> Box:
    """The box with every other size at the one it has."""
    named = {axis: (least, most) for axis, least, most in box}
    whole = {axis: (size, size) for axis, size in sizes.items()} | named
    return tuple((axis, least, most) for axis, (least, most) in whole.items())


def _allowed_bytes(
    promise: CoveredBy, runs: Runs, settings: Settings, inside: Iterable[KernelTerm]
) -> int:
    """What the profile run took: as it was given, or as the same code takes it at its sizes.

    What its kernels took inside counts where it is known, and not where it is only bounded.
    """
    if promise.num_bytes is not None:
        return promise.num_bytes
    sizes = {**settings.sizes, **dict(promise.sizes)}
    known_bytes = sum(int(term.at_most(sizes)) for term in inside if term.is_exact)
    return runs.known(sizes).peak().num_bytes + known_bytes


@dataclass
class _Explored:
    """Laws of parts of a box, each from a run on symbols in that part.

    Attributes:
        runs: of the program.
        settings: how it is run.
        inside: what kernels take beside every law, at most.
        regimes: of the laws found here, with what is alive in each.
        num_runs: runs made.
    """

    runs: Runs
    settings: Settings
    inside: tuple[Polynomial, ...]
    regimes: list[Regime] = field(default_factory=list)
    num_runs: int = 0
    _why_not: str = ""

    def known(self, proof: Proof | None) -> list[Piece]:
        """The pieces of the proof; what is found later is refused where there is none."""
        if proof is None:
            self._why_not = "the code keeps state, and its law is not proved"
            return []
        if proof.how != CLOSED_FORM or proof.main is None:
            self._why_not = f"the law is fitted, not proved: {proof.reason}"
            return []
        return [piece_of(branch, self.inside) for branch in (proof.main, *proof.branches)]

    def explore(self, part: Ranges) -> Piece | str:
        """The law at the upper corner of a part; or why there is none."""
        if self._why_not:
            return self._why_not
        upper = {axis: high for axis, (_, high) in part.items()}
        corner = {axis: (size, size) for axis, size in upper.items()}
        found: Piece | str = "no law speaks of these sizes"
        # Sizes that differ first: those that are equal by accident would be taken to be so.
        for sizes in (distinct_within(part, self.settings.workload), upper):
            found = self._run(sizes, part)
            if not isinstance(found, str) and found.applies(corner):
                break
        return found

    def _run(self, sizes: Mapping[str, int], part: Ranges) -> Piece | str:
        if self.num_runs >= MAX_EXPLORED:
            return f"the code takes more branches than the {MAX_EXPLORED} that were looked at"
        self.num_runs += 1
        axes = {axis.name: axis.lower for axis in self.settings.workload.axes}
        held = tuple(n for n in sizes if n not in axes or part[n][0] == part[n][1])
        try:
            trace = self.runs.symbolic(Hints(dict(sizes), held, axes, LONGEST))
        except OomSuiteError as error:
            return plain(str(error))
        if trace.is_cut:
            return "the code turns a loop too often there to be run on symbols"
        law, regimes = closed_form(trace)
        self.regimes += regimes
        return piece_of(Branch(law, regimes, trace), self.inside)


def _with_runs(coverage: Coverage, runs: Runs, settings: Settings) -> Coverage:
    """The coverage, held against an exact run at its largest peak; else with the largest run.

    Raises:
        DisagreementError: law and run differ by a byte.
        OomSuiteError: nothing can be run at the largest peak.
    """
    if coverage.sizes and (coverage.is_kept or coverage.is_broken):
        return _with_run(coverage, runs.known(coverage.sizes).peak().num_bytes)
    ranges = {axis: (least, most) for axis, least, most in coverage.box}
    for sizes in runs.known_sizes:
        if all(low <= sizes[axis] <= high for axis, (low, high) in ranges.items()):
            coverage = _at_least(coverage, sizes, runs)
    upper = settings.workload.settle({axis: most for axis, (_, most) in ranges.items()})
    if coverage.is_broken or upper is None:
        return coverage
    with contextlib.suppress(OomSuiteError):
        # What cannot be run there stays undecided.
        coverage = _at_least(coverage, upper, runs)
    return coverage


def _at_least(coverage: Coverage, sizes: Mapping[str, int], runs: Runs) -> Coverage:
    """The coverage with an exact run in the box, where that took more than is known."""
    exact_bytes = runs.known(sizes).peak().num_bytes
    if exact_bytes <= (coverage.most_bytes or 0):
        return coverage
    return replace(coverage, most_bytes=exact_bytes, sizes=dict(sizes), formula=None, decided={})


def _with_run(coverage: Coverage, exact_bytes: int) -> Coverage:
    """The coverage with the exact run's bytes at its largest peak.

    Raises:
        DisagreementError: they are others than the law's.
    """
    law_bytes = coverage.most_bytes or 0
    if exact_bytes > law_bytes or (exact_bytes < law_bytes and not coverage.decided):
        raise DisagreementError(
            f"the lanes disagree at {listed(coverage.sizes)}: the law says {law_bytes:,} bytes, "
            f"an exact run {exact_bytes:,}"
        )
    if exact_bytes == law_bytes:
        return coverage
    named = join(sorted(coverage.decided))
    gap = f"data decides {named}: at most {law_bytes:,} bytes, {exact_bytes:,} seen"
    gap = "" if coverage.is_kept else gap
    return replace(coverage, most_bytes=exact_bytes, is_most=False, gap=gap)


def _gap(coverage: Coverage) -> str:
    where = _varied(coverage, coverage.gap_sizes)
    return f"at {listed(where)}, {coverage.gap}" if where else coverage.gap


def _varied(coverage: Coverage, sizes: Mapping[str, int]) -> dict[str, int]:
    """The sizes of the axes that the box leaves a choice of, and that the peak depends on."""
    matter = None if coverage.formula is None else coverage.formula.axes
    wide = [axis for axis, least, most in coverage.box if least < most]
    return {a: sizes[a] for a in wide if a in sizes and (matter is None or a in matter)}


def _broken(
    result: Result, coverage: Coverage, promise: CoveredBy, regimes: Iterable[Regime]
) -> Result:
    """The peak that is over, with its terms and their lines."""
    where = _varied(coverage, coverage.sizes)
    reason = (
        f"not covered by {promise.what}: {coverage.most_bytes:,} bytes"
        f"{f' at {listed(where)}' if where else ''}, {coverage.over_bytes:,} over its "
        f"{coverage.allowed_bytes:,}"
    )
    if result.verdict is Verdict.FAIL:
        return replace(result, reason=f"{result.reason}; {reason}")
    sizes = {**coverage.sizes, **coverage.decided}
    regime = _regime(coverage, sizes, regimes)
    if regime is None:
        breach, blame = Breach(sizes, seen=reason), result.blame
    else:
        formula = regime.polynomial
        coverage = replace(coverage, formula=formula)
        breach = Breach(sizes, formula, largest_terms(formula, sizes))
        blame = blame_excess(regime, sizes)
    return replace(
        result,
        verdict=Verdict.FAIL,
        reason=reason,
        breach=breach,
        blame=blame,
        advice=(),
        coverage=coverage,
    )


def _regime(
    coverage: Coverage, sizes: Mapping[str, int], regimes: Iterable[Regime]
) -> Regime | None:
    """The regime whose peak it is: that of the law, else one that gives an exact run's bytes."""
    if coverage.formula is not None:
        return regime_of(coverage.formula, regimes)
    known = (each for each in regimes if each.polynomial.axes <= sizes.keys())
    return next((each for each in known if each.polynomial(sizes) == coverage.most_bytes), None)
