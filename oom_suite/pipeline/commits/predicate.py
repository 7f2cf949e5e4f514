"""What makes a commit good or bad: a contract, one axis, a bound, or the lockfile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

from oom_suite.errors import OomSuiteError, UsageError, unknown
from oom_suite.laws.contracts import contract
from oom_suite.laws.lines import with_lines
from oom_suite.laws.lockfile import compare, read
from oom_suite.laws.lockfile.compare import growth_text
from oom_suite.pipeline.check import check_cases
from oom_suite.pipeline.law_page import FullStudy
from oom_suite.pipeline.locked import check_locked, entry_of
from oom_suite.records import Law, Polynomial, Verdict
from oom_suite.records.commits import Finding, Judged, Place
from oom_suite.records.lock import Change, Difference, Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from oom_suite.pipeline.judging import Study
    from oom_suite.pipeline.settings import OnProgress, Settings
    from oom_suite.records import Result, SubjectSpec, Workload

    Cases = Callable[[], list[tuple[SubjectSpec, Settings]]]

DEVICE = "device"
"""What the device's own law is called among a finding's entries."""

_VERDICTS = {
    Change.SAME: Verdict.PASS,
    Change.SHRANK: Verdict.PASS,
    Change.GREW: Verdict.FAIL,
    Change.UNDECIDED: Verdict.INCONCLUSIVE,
    Change.MISSING: Verdict.INCONCLUSIVE,
}


class Predicate(Protocol):
    """Says whether the code in the current folder is good or bad."""

    @property
    def key(self) -> tuple[str, ...]:
        """What tells it from others: the words that it was asked with."""
        ...

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it names, from the current folder."""
        ...

    @property
    def reads_pages(self) -> bool:
        """Whether documentation and pictures can decide it, as for a test that reads them."""
        ...

    def judge(
        self,
        reference: Judged | None,
        on_progress: OnProgress,
        *,
        instead_of: Path | None = None,
    ) -> Judged:
        """What it says of the code as it is now. Whatever goes wrong is INCONCLUSIVE.

        Args:
            reference: what it said of the good end, where that is known.
            on_progress: given what is being done.
            instead_of: the working tree that the current folder stands for; None for itself.
                Code that is loaded from there is not that of the commit.
        """
        ...

    def as_baseline(self, judged: Judged) -> Judged:
        """What it said of the good end, as what others are held to."""
        ...


@dataclass(frozen=True, slots=True)
class LawPredicate:
    """A subject's law, by its workloads' contract or by what is asked instead.

    Attributes:
        key: the words that it was asked with.
        files: the subject's file, where it is one.
        cases: the subject with the settings of each workload, read off the code as it is.
        axis: the axis that alone is looked at; empty for the whole contract.
        at_most: the bound that is looked at instead; empty for none.
        lockfile: the file that laws are compared with instead; empty for none.
    """

    key: tuple[str, ...]
    files: tuple[str, ...]
    cases: Cases
    axis: str = ""
    at_most: str = ""
    lockfile: str = ""
    reads_pages: ClassVar[bool] = False

    def judge(
        self,
        reference: Judged | None,
        on_progress: OnProgress,
        *,
        instead_of: Path | None = None,
    ) -> Judged:
        """As `Predicate.judge`."""
        try:
            cases = [
                (spec, replace(settings, instead_of=instead_of)) for spec, settings in self.cases()
            ]
            if self.lockfile:
                return self._by_lockfile(cases, on_progress)
            asked = self._asked(cases)
            studies = check_cases(asked, on_progress)
        except OomSuiteError as error:
            return Judged(problem=str(error))
        known = {each.workload: each for each in reference.findings} if reference else {}
        return Judged(
            tuple(
                replace(
                    self._finding(study, settings, known.get(settings.workload.name)),
                    judged_as=judged_as(settings, self._bad),
                )
                for study, (_, settings) in zip(studies, asked, strict=True)
            )
        )

    @property
    def _bad(self) -> str:
        """What is looked for, in words; empty for what the contract does not allow."""
        if self.axis:
            return f"growth in {self.axis}"
        return f"more than {self.at_most}" if self.at_most else ""

    def as_baseline(self, judged: Judged) -> Judged:
        """As `Predicate.as_baseline`: what has the asked axis there already is good."""
        if not self.axis or self.lockfile:
            return judged
        reason = f"its law has {self.axis} in it already: other commits are held to that"
        return replace(
            judged,
            findings=tuple(
                replace(each, verdict=Verdict.PASS, reason=reason, blame=(), is_baseline=True)
                if each.verdict is Verdict.FAIL and each.entries
                else each
                for each in judged.findings
            ),
        )

    def _asked(
        self, cases: list[tuple[SubjectSpec, Settings]]
    ) -> list[tuple[SubjectSpec, Settings]]:
        """The cases with the contract that is asked for; those without that axis are left out."""
        if not self.axis and not self.at_most:
            return cases
        asked = []
        for spec, settings in cases:
            axes = self._axes(settings.workload)
            if self.axis and not axes:
                continue
            names = tuple(axis.name for axis in settings.workload.axes)
            only = contract(names, independent_of=axes, at_most=self.at_most or None)
            workload = replace(settings.workload, contract=only)
            asked.append((spec, replace(settings, workload=workload)))
        if not asked:
            known = {a.name for _, settings in cases for a in settings.workload.axes}
            known |= {name for _, settings in cases for name in settings.workload.together}
            raise unknown("axis", self.axis, known)
        return asked

    def _axes(self, workload: Workload) -> tuple[str, ...]:
        """The axes of a workload that the asked one stands for."""
        names = {axis.name for axis in workload.axes}
        together = workload.together.get(self.axis, (self.axis,))
        return tuple(axis for axis in together if axis in names)

    def _finding(self, study: Study, settings: Settings, good: Finding | None) -> Finding:
        found = _finding_of(study.result, entries_of(study, settings))
        if good is None or not good.entries or not found.entries:
            return found
        changes = [
            with_lines(_changed(good, found, kind, settings.workload), study.derivation)
            for kind in found.entries
        ]
        if good.is_baseline and found.verdict is Verdict.FAIL:
            # The law has that axis at the good end too: what counts is what came since.
            return self._since(found, good, changes, settings.workload)
        return replace(found, difference=changes[0])

    def _since(
        self, found: Finding, good: Finding, changes: list[Difference], workload: Workload
    ) -> Finding:
        """A finding by what grew in the axis since the good end, and not by what there is."""
        axes = self._axes(workload)
        seen = [
            in_axes(change, axes, _law_of(good, kind), _law_of(found, kind))
            for kind, change in zip(found.entries, changes, strict=True)
        ]
        for change in (Change.GREW, Change.UNDECIDED):
            for each in seen:
                if each.change is change:
                    return _by(found, each)
        reason = f"no growth in {self.axis} since the good end"
        return replace(found, verdict=Verdict.PASS, reason=reason, blame=(), difference=changes[0])

    def _by_lockfile(
        self, cases: list[tuple[SubjectSpec, Settings]], on_progress: OnProgress
    ) -> Judged:
        findings: list[Finding] = []
        problem = ""
        for spec, settings in cases:
            results, differences = check_locked([spec.text], settings, self.lockfile, on_progress)
            for result, difference in zip(results, differences, strict=True):
                if difference.change is Change.MISSING:
                    problem = f"{self.lockfile} has no law of {spec.text}"
                    continue
                if self.axis:
                    locked = read(self.lockfile)[difference.key].law
                    axes = self._axes(settings.workload)
                    difference = in_axes(difference, axes, locked, result.law)
                found = _by(_finding_of(result, {}), difference)
                as_asked = judged_as(settings, f"growth since {self.lockfile}")
                findings.append(replace(found, judged_as=as_asked))
        return Judged(tuple(findings), problem)


def judged_as(settings: Settings, bad: str = "") -> str:
    """The exact configuration of a judgement, as one line.

    Args:
        settings: how code is judged.
        bad: what is looked for; what the contract does not allow where it is empty.
    """
    promised, workload = settings.workload.contract, settings.workload
    promises = [
        f"dependence on {' and '.join(promised.independent_of)}" if promised.independent_of else "",
        "more than its bound" if promised.at_most is not None else "",
        f"more than linear growth in {', '.join(promised.linear_in)}" if promised.linear_in else "",
        f"growth without end in {', '.join(promised.bounded_in)}" if promised.bounded_in else "",
        *(f"growth in {axis} after {size}" for axis, size in promised.constant_after),
        f"a peak above {settings.budget.name}" if settings.budget else "",
    ]
    sizes = ", ".join(f"{axis}={size}" for axis, size in settings.sizes.items())
    bad = bad or " or ".join(each for each in promises if each) or "nothing"
    return f"{workload.name} for {settings.target}, {settings.scenario}: {sizes}; bad is {bad}"


def entries_of(study: Study, settings: Settings) -> dict[str, Entry]:
    """The laws of a study that can be compared; none where its runs depend on each other."""
    entry = entry_of(FullStudy(study), settings)
    if entry is None or study.derivation is None or study.derivation.unsteady:
        return {}
    hosts = {each.kind: each.law for each in study.result.host}
    return {
        DEVICE: entry,
        **{kind: replace(entry, law=law, elsewhere=()) for kind, law in hosts.items()},
    }


def _finding_of(result: Result, entries: Mapping[str, Entry]) -> Finding:
    return Finding(
        name=result.subject,
        workload=result.workload,
        verdict=result.verdict,
        reason=result.reason,
        law="" if result.law is None else str(result.law.here),
        peak_requested_bytes=result.peak_requested_bytes,
        blame=tuple(
            Place(each.file, each.line, each.function, each.axis, each.bytes_per_unit)
            for each in result.blame
        ),
        entries=entries,
    )


def _law_of(finding: Finding, kind: str) -> Law | None:
    return finding.entries[kind].law if kind in finding.entries else None


def _changed(good: Finding, found: Finding, kind: str, workload: Workload) -> Difference:
    now = found.entries[kind]
    nothing = Law((Polynomial({}, now.law.here.order),), now.law.sizes)
    before = good.entries.get(kind) or replace(now, law=nothing, elsewhere=())
    return compare(before, now, workload)


def in_axes(
    difference: Difference, axes: Iterable[str], then: Law | None, now: Law | None
) -> Difference:
    """The difference by its growth in these axes alone: the same where nothing grew in them."""
    if difference.change is not Change.GREW:
        return difference
    wanted = frozenset(axes)
    growths = tuple(each for each in difference.growths if wanted.intersection(each.axes))
    if growths:
        return replace(difference, growths=growths, reason=growth_text(growths[0]))
    named = ", ".join(sorted(wanted))
    held_then, held_now = ((law.held if law else {}).keys() & wanted for law in (then, now))
    bare = tuple(each for each in difference.growths if not each.axes)
    if bare and held_now and not held_then:
        # Around one value of an axis its own growth is a constant.
        reason = f"grew, and the peak follows no polynomial in {named} any more"
        return replace(difference, growths=bare, reason=reason)
    if held_now:
        reason = f"cannot tell whether it grew in {named}: the peak follows no polynomial there"
        return replace(difference, change=Change.UNDECIDED, growths=(), reason=reason)
    reason = f"no growth in {named}"
    return replace(difference, change=Change.SAME, growths=(), reason=reason)


def _by(found: Finding, difference: Difference) -> Finding:
    """The finding with the verdict of a comparison, and the lines that brought the growth."""
    verdict = _VERDICTS[difference.change]
    blame = (_brought(difference) or found.blame) if verdict is Verdict.FAIL else ()
    return replace(
        found, verdict=verdict, reason=difference.reason, blame=blame, difference=difference
    )


def _brought(difference: Difference) -> tuple[Place, ...]:
    terms = [term for growth in difference.growths[:1] for term in growth.terms]
    return tuple(
        Place(line.file, line.line, line.function, "*".join(sorted(term.term.axes)), float(part))
        for term in terms
        for line, part in term.lines
    )


def refuse_mixed(axis: str, at_most: str, test: str, *, locked: bool) -> None:
    """Nothing, where what is asked for can be asked together.

    Raises:
        UsageError: it cannot.
    """
    given = {"--axis": axis, "--at-most": at_most, "--locked": locked, "--test": test}
    asked = [name for name, value in given.items() if value]
    if len(asked) > 1 and asked != ["--axis", "--locked"]:
        raise UsageError(f"{' and '.join(asked)} are different questions: ask one of them")
