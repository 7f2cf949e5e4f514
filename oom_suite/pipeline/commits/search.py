"""Searches the commits between a good and a bad one for the first that is as the newer end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from oom_suite.doors import workload as find_workload
from oom_suite.errors import UsageError
from oom_suite.laws.lockfile import compare
from oom_suite.pipeline.commits.checkout import Checkouts
from oom_suite.pipeline.commits.guilty import diff_of_guilty
from oom_suite.pipeline.commits.kept import NOTHING_KEPT, Kept, Question, decides, digest
from oom_suite.pipeline.commits.predicate import DEVICE
from oom_suite.pipeline.commits.repository import Ends
from oom_suite.pipeline.searching import next_of
from oom_suite.records import Verdict
from oom_suite.records.commits import CommitSearch, Step
from oom_suite.records.lock import Change
from oom_suite.targets.versions import environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.pipeline.commits.predicate import Predicate
    from oom_suite.pipeline.commits.repository import Repository
    from oom_suite.pipeline.settings import OnProgress
    from oom_suite.records.commits import Finding, Judged
    from oom_suite.records.lock import Difference

GOOD, BAD = "good", "bad"
WANTED = {GOOD: Verdict.PASS, BAD: Verdict.FAIL}


@dataclass(frozen=True)
class CommitJudge:
    """Judges commits with one predicate, each once, in a folder beside the user's own.

    Attributes:
        repository: whose commits.
        predicate: what makes one good or bad.
        checkouts: where their files are made.
        on_progress: given what is being done.
        kept: what was found before, of commits with the same files.
    """

    repository: Repository
    predicate: Predicate
    checkouts: Checkouts
    on_progress: OnProgress
    kept: Kept = NOTHING_KEPT

    def good_end(self, commit: str) -> Step:
        """What is found at the good end, to which other commits are held."""
        step = self.step(commit, end=GOOD)
        return replace(step, judged=self.predicate.as_baseline(step.judged))

    def step(
        self,
        commit: str,
        reference: Judged | None = None,
        end: str = "",
        *,
        is_new: bool = False,
    ) -> Step:
        """What is found at a commit.

        Args:
            commit: its full name.
            reference: what was found at the good end, where that is known.
            end: which end of the search it is; empty for none.
            is_new: whether it is judged now, whatever was found before.

        Raises:
            UsageError: git cannot give its files.
        """

        def judge() -> Judged:
            with self.checkouts.at(commit):
                return self.predicate.judge(
                    reference, self.on_progress, instead_of=self.repository.top
                )

        return self.kept.step(
            commit,
            Question((*self.predicate.key, self.repository.prefix), reference),
            self._content(commit),
            judge,
            title=self.repository.title(commit),
            end=end,
            is_new=is_new,
        )

    def _content(self, commit: str) -> str:
        """A digest of all files of a commit that can decide an answer, and of those beside it."""
        files = self.repository.files_of(commit)
        all_of_them = self.predicate.reads_pages
        named = [line for name, line in files.items() if all_of_them or decides(name)]
        brought = [
            self.repository.top.joinpath(file).read_bytes()
            for file in named_files(self.repository, self.predicate)
            if self.repository.is_untracked(file)
        ]
        return digest([*((line,) for line in named), *brought])


def search_commits(
    repository: Repository,
    good: str,
    bad: str,
    predicate: Predicate,
    on_progress: OnProgress,
    on_step: Callable[[Step], None],
    kept: Kept = NOTHING_KEPT,
) -> CommitSearch:
    """Where the commits of a repository change from good to bad, or from bad to good.

    Both ends are judged first. Commits that cannot be judged are passed over, and named where the
    change may be in one of them.

    Cost: about ``log2(commits)`` steps beside the two ends, and one or two more for each stretch
    that cannot be judged: after one the next is some way off.

    Args:
        repository: it is left as it is: commits are judged in a folder of their own.
        good: a revision that is good.
        bad: one that is bad, older or newer.
        predicate: what makes a commit good or bad.
        on_progress: given what is being done.
        on_step: given each commit that was judged.
        kept: what was found before, of commits with the same files.

    Raises:
        UsageError: an end is no commit or not as claimed, or the two are not in one line.
    """
    ends, is_repair = _in_order(repository, good, bad)
    with Checkouts(repository, named_files(repository, predicate)) as places:
        judge = CommitJudge(repository, predicate, places, on_progress, kept)
        good_step = judge.good_end(ends.new if is_repair else ends.old)
        on_step(good_step)
        require(good_step)
        reference = good_step.judged
        bad_step = judge.step(ends.old if is_repair else ends.new, reference, BAD)
        on_step(bad_step)
        require(bad_step)
        found = {good_step.commit: good_step, bad_step.commit: bad_step}
        left = _Range(repository, ends, (good_step if is_repair else bad_step).judged.verdict)
        while (commit := left.middle()) is not None:
            step = found[commit] = judge.step(commit, reference)
            on_step(step)
            left.narrow(step)
        then, now = found[left.before()], found[left.newest]
        guilty = then if is_repair else now
        if guilty.is_kept:
            # A judgement of now has the lines behind each term too.
            guilty = judge.step(guilty.commit, reference, guilty.end, is_new=True)
            then, now = (guilty, now) if is_repair else (then, guilty)
    return CommitSearch(
        first=now,
        before=then,
        unjudged=tuple(found[commit] for commit in left.unjudged_now()),
        steps=tuple(found.values()),
        is_repair=is_repair,
        changes=changes_of(then.judged, now.judged),
        diff=diff_of_guilty(
            repository, then.commit, now.commit, guilty.judged, is_after=not is_repair
        ),
        made_with=made_with(),
    )


class _Range:
    """The commits in which the first that is as the newer end may be."""

    def __init__(self, repository: Repository, ends: Ends, new: Verdict) -> None:
        self.newest = ends.new
        self._repository = repository
        self._new = new
        self._old = [ends.old]
        self._unjudged: set[str] = set()

    def middle(self) -> str | None:
        """The commit to judge next; None where all that could be were."""
        left = self._repository.between(self._old, self.newest)
        inside = [commit for commit in left if commit != self.newest]
        untried = [commit for commit in inside if commit not in self._unjudged]
        return next_of(untried, len(inside) - len(untried)) if untried else None

    def narrow(self, step: Step) -> None:
        """Nothing; the range is what a step leaves of it."""
        verdict = step.judged.verdict
        if verdict is Verdict.INCONCLUSIVE:
            self._unjudged.add(step.commit)
        elif verdict is self._new:
            self.newest = step.commit
        else:
            self._old.append(step.commit)

    def before(self) -> str:
        """The last commit found that is as the older end: the newest one's parent, or before it."""
        behind = [*self._repository.parents(self.newest), *reversed(self._old)]
        return next(
            commit
            for commit in behind
            if commit in self._old and self._repository.is_ancestor(commit, self.newest)
        )

    def unjudged_now(self) -> list[str]:
        """The commits in the range that could not be judged, the oldest first."""
        left = set(self._repository.between(self._old, self.newest))
        return [
            c
            for c in self._repository.in_order(self.newest, self._old)
            if c in left & self._unjudged
        ]


def made_with() -> str:
    """The versions that this process judges with."""
    known = environment()
    named = (
        ("Python", "python"),
        ("torch", "torch"),
        ("Triton", "triton"),
        ("oom-suite", "oom_suite"),
    )
    return ", ".join(f"{title} {known[name]}" for title, name in named if known[name])


def named_files(repository: Repository, predicate: Predicate) -> list[str]:
    """The files that a predicate names, from the top of the repository."""
    return [str(Path(repository.prefix, file)) for file in predicate.files]


def _in_order(repository: Repository, good: str, bad: str) -> tuple[Ends, bool]:
    """The two ends, the older first, and whether the newer one is the good one."""
    good_commit, bad_commit = repository.commit(good, "--good"), repository.commit(bad, "--bad")
    if good_commit == bad_commit:
        raise UsageError(f"--good and --bad are the same commit, {good_commit[:10]}: give two")
    if repository.is_ancestor(good_commit, bad_commit):
        return Ends(good_commit, bad_commit), False
    if repository.is_ancestor(bad_commit, good_commit):
        return Ends(bad_commit, good_commit), True
    msg = (
        f"--good {good} and --bad {bad} are on two branches, neither behind the other: give "
        f"--good $(git merge-base {good} {bad}) where that one is good"
    )
    raise UsageError(msg)


def require(step: Step) -> None:
    """Nothing, where an end is as claimed.

    Raises:
        UsageError: it is not: what is searched for with such an end is not there.
    """
    verdict, wanted = step.judged.verdict, WANTED[step.end]
    if verdict is not wanted:
        commit = step.title.partition(" ")[0]
        msg = f"the {step.end} end, {commit}, is {verdict.value} and not {wanted.value}"
        raise UsageError(f"{msg}: {step.judged.reason}")


def changes_of(then: Judged, now: Judged) -> tuple[Difference, ...]:
    """How each law changed that was found on both sides, those first that grew."""
    known = {each.workload: each for each in then.findings if DEVICE in each.entries}
    changes = []
    for finding in now.findings:
        if finding.workload not in known or DEVICE not in finding.entries:
            continue
        before, after = known[finding.workload].entries[DEVICE], finding.entries[DEVICE]
        change = compare(before, after, find_workload(finding.workload))
        changes.append(_with_known_lines(change, finding))
    return tuple(sorted(changes, key=lambda each: each.change is not Change.GREW))


def _with_known_lines(change: Difference, finding: Finding) -> Difference:
    """The change with the lines of its terms, which were found against the good end."""
    growths = finding.difference.growths if finding.difference else ()
    lines = {str(term.term): term.lines for growth in growths for term in growth.terms}
    return replace(
        change,
        growths=tuple(
            replace(
                growth,
                terms=tuple(
                    replace(term, lines=term.lines or lines.get(str(term.term), ()))
                    for term in growth.terms
                ),
            )
            for growth in change.growths
        ),
    )
