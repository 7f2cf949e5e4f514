"""Finds the release at which a verdict changes."""

from __future__ import annotations

import contextlib
import difflib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from oom_suite.errors import UsageError
from oom_suite.pipeline.commits.guilty import MAX_LINES, guilty_parts
from oom_suite.pipeline.commits.kept import Kept, Question, content_of_subject
from oom_suite.pipeline.commits.repository import GitError
from oom_suite.pipeline.commits.search import BAD, GOOD, changes_of, made_with, require
from oom_suite.pipeline.searching import search, walk
from oom_suite.records import Verdict
from oom_suite.records.commits import CommitSearch
from oom_suite.subjects import family_of, obtain, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.pipeline.commits.predicate import Predicate
    from oom_suite.pipeline.commits.repository import Repository
    from oom_suite.pipeline.settings import OnProgress
    from oom_suite.records.commits import Judged, Step
    from oom_suite.subjects.family import SubjectFamily


@dataclass
class ReleaseJudge:
    """Judges the releases of one package, each once, and none whose code was judged before.

    Attributes:
        family: whose releases.
        predicate_for: what makes a release good or bad, by how it is written.
        kept: what was found before.
        on_progress: given what is being done.
        on_step: given each release that was judged.
        steps: all that was judged, in order.
    """

    family: SubjectFamily
    predicate_for: Callable[[str], Predicate]
    kept: Kept
    on_progress: OnProgress
    on_step: Callable[[Step], None]
    steps: dict[Version, Step] = field(default_factory=dict)
    _reference: Judged | None = None

    def end(self, version: Version, which: str) -> Step:
        """What is found at an end of the search, which has to be as claimed.

        Raises:
            UsageError: it is not.
        """
        step = self.step(version, which)
        if which == GOOD:
            judged = self.predicate_for(step.commit).as_baseline(step.judged)
            step = self.steps[version] = replace(step, judged=judged)
            self._reference = judged
        require(step)
        return step

    def step(self, version: Version, end: str = "") -> Step:
        """What is found of a release."""
        if version not in self.steps:
            self.steps[version] = self._judged(version, end)
            self.on_step(self.steps[version])
        return self.steps[version]

    def fresh(self, step: Step) -> Step:
        """The step as a judgement of now, which says more than one that was kept."""
        return self._judged(Version(step.commit.partition("==")[2]), step.end, is_new=True)

    def _judged(self, version: Version, end: str, *, is_new: bool = False) -> Step:
        name = self.family.release(version)
        predicate = self.predicate_for(name)
        return self.kept.step(
            name,
            Question(predicate.key, self._reference),
            content_of_subject(name),
            lambda: predicate.judge(self._reference, self.on_progress),
            end=end,
            is_new=is_new,
        )


def search_releases(
    good: str | None,
    bad: str,
    predicate_for: Callable[[str], Predicate],
    kept: Kept,
    on_progress: OnProgress,
    on_step: Callable[[Step], None],
    *,
    walks: bool = False,
) -> CommitSearch:
    """The neighbouring releases between which the verdict changes.

    Both ends are judged first: a search between ends that are not as claimed finds nothing.
    Releases that cannot be judged are passed over.

    Args:
        good: the release that passes, as ``vllm==VERSION``, older or newer than `bad`; None for
            the newest.
        bad: the release that fails.
        predicate_for: what makes a release good or bad, by how it is written.
        kept: what was found before.
        on_progress: given what is being done.
        on_step: given each release that was judged.
        walks: judge every release between the two, where the verdict may change more than once;
            the newest change is the one that is told of in full.

    Raises:
        UsageError: an end is no release, or its verdict is not the one claimed.
        FetchError: the list of releases cannot be had.
    """
    family, bad_version = _release(bad, "--bad")
    known = family.releases()
    good_version = max(known)
    if good is not None:
        other, good_version = _release(good, "--good")
        if other is not family:
            msg = f"--good {good} and --bad {bad} are releases of two packages: give two of one"
            raise UsageError(msg)
    if good_version == bad_version:
        msg = f"--good and --bad are the same release, {good_version}: give two different ones"
        raise UsageError(msg)
    judge = ReleaseJudge(family, predicate_for, kept, on_progress, on_step)
    judge.end(good_version, GOOD)
    judge.end(bad_version, BAD)
    first, last = sorted((good_version, bad_version))
    between = [version for version in known if first < version < last]
    last_verdict = judge.steps[last].judged.verdict

    def like_last(version: Version) -> bool | None:
        verdict = judge.step(version).judged.verdict
        return None if verdict is Verdict.INCONCLUSIVE else verdict is last_verdict

    found = (walk if walks else search)([first, *between, last], like_last)
    then, now = (judge.steps[version] for version in (found[-1].before, found[-1].after))
    is_repair = last == good_version
    guilty = then if is_repair else now
    if guilty.is_kept:
        guilty = judge.fresh(guilty)
        then, now = (guilty, now) if is_repair else (then, guilty)
    return CommitSearch(
        first=now,
        before=then,
        unjudged=tuple(judge.steps[version] for version in found[-1].unjudged),
        steps=tuple(judge.steps.values()),
        is_repair=is_repair,
        changes=changes_of(then.judged, now.judged),
        diff=_diff(then.commit, now.commit, guilty.judged, is_after=not is_repair),
        turns=tuple((judge.steps[one.before].title, judge.steps[one.after].title) for one in found),
        noun="release",
        made_with=made_with(),
    )


def _diff(before: str, after: str, guilty: Judged, *, is_after: bool) -> tuple[str, ...]:
    """How the guilty lines' files differ between two releases."""
    roots = [obtain(parse(each)) for each in (before, after)]

    def diff_of(file: str) -> str:
        then, now = (_lines(root, file) for root in roots)
        lines = difflib.unified_diff(then, now, f"a/{file}", f"b/{file}", n=2, lineterm="")
        return "\n".join(lines)

    command = f"diff -r {roots[0]} {roots[1]}"
    lines = guilty_parts(diff_of, guilty, command, is_after=is_after)
    # What a release rewrote says less than its name.
    return lines if len(lines) <= MAX_LINES else (command,)


def _lines(root: Path | None, file: str) -> list[str]:
    try:
        return (root or Path()).joinpath(file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def ends_in(repository: Repository, found: CommitSearch) -> tuple[str, str]:
    """The good and the bad end of the commits between two releases.

    Releases are often cut from branches, neither behind the other: the older end is then the last
    commit that both have behind them.

    Raises:
        UsageError: it has no tag of a release.
    """
    older, newer = (_tag(repository, each.commit) for each in (found.before, found.first))
    if not repository.is_ancestor(older, newer):
        try:
            older = repository.common(older, newer)
        except GitError:
            names = f"{found.before.commit} and {found.first.commit}"
            raise UsageError(f"{repository.top} has no commit behind both {names}") from None
    return (newer, older) if found.is_repair else (older, newer)


def _tag(repository: Repository, release: str) -> str:
    name, _, version = release.partition("==")
    tags = (f"v{version}", version, f"{name}-{version}")
    for tag in tags:
        with contextlib.suppress(UsageError):
            return repository.commit(f"refs/tags/{tag}", "the tag")
    msg = f"{repository.top} has none of the tags {', '.join(tags)}: give commits by --good and "
    raise UsageError(f"{msg}--bad, or run git fetch --tags there")


def is_release(text: str | None) -> bool:
    """Whether a spelling is that of a release."""
    try:
        return text is not None and parse(text).version is not None
    except UsageError:
        return False


def _release(text: str, option: str) -> tuple[SubjectFamily, Version]:
    spec = parse(text)
    if spec.version is None:
        msg = (
            f"{option} {text!r} is not a release: write one, as vllm==VERSION; "
            "for commits, git bisect run oom-suite probe vllm@."
        )
        raise UsageError(msg)
    return family_of(spec), Version(spec.version)
