"""What `oom-suite bisect` searches: releases, commits, or combinations of versions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oom_suite.cli.predicates import Asked
from oom_suite.cli.settings import first_workload
from oom_suite.errors import UsageError
from oom_suite.pipeline.commits.command import CommandPredicate
from oom_suite.pipeline.commits.kept import Kept, folder_in, folder_of_releases
from oom_suite.pipeline.commits.repository import Repository
from oom_suite.pipeline.commits.search import search_commits
from oom_suite.pipeline.environments import PipEnvironments
from oom_suite.pipeline.pairs import (
    CombinationJudge,
    is_subject,
    read_combination,
    search_pairs,
)
from oom_suite.pipeline.releases import ends_in, search_releases
from oom_suite.records.commits import CommitSearch, Step
from oom_suite.subjects import parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from oom_suite.pipeline.commits.predicate import Predicate
    from oom_suite.pipeline.settings import OnProgress

    OnStep = Callable[[Step], None]
    Search = Callable[[CommitSearch | None, OnProgress, OnStep], CommitSearch]


_FOR_COMMITS = frozenset({"SUBJECT", "--test", "--locked", "--file", "--stub", "--package"})


@dataclass(frozen=True, slots=True)
class Ends:
    """Where a search begins and ends, and how it goes.

    Attributes:
        good: the good end; None for the newest release.
        bad: the bad end; None where it was not given.
        walks: whether all in between are judged.
        is_fresh: whether what was found before is left unread.
        by: the command that is asked; None for the law.
    """

    good: str | None
    bad: str | None
    walks: bool
    is_fresh: bool
    by: str | None = None

    def kept(self, folder: Path) -> Kept:
        """What was found before, in this folder."""
        return Kept(folder, reads=not self.is_fresh)


@dataclass(frozen=True, slots=True)
class Stage:
    """One search of a command.

    Attributes:
        key: what its JSON is called.
        name: what is judged in it.
        search: given what the stage before it found, if there was one.
    """

    key: str
    name: str
    search: Search


def of_releases(asked: Asked, ends: Ends, repo: str | None) -> list[Stage]:
    """The search of releases, and with a repository that of the commits between the two found."""
    bad = ends.bad
    if bad is None:
        raise UsageError("give --bad vllm==VERSION, or for commits --repo PATH and --good REV")
    _refuse_for_releases(asked)
    if (by := ends.by) is not None:
        _refuse_beside_a_command(asked)
        CommandPredicate.of(by, bad)
        return [
            Stage("bisection", bad, _search_by(ends, bad, lambda r: CommandPredicate.of(by, r)))
        ]
    workload = first_workload(asked.workload, [bad])
    asked = replace(asked, workload=workload)
    asked.checked()
    repository = None if repo is None else Repository.at(repo)

    search = _search_by(ends, bad, lambda name: replace(asked, subject=name).predicate())
    stages = [Stage("bisection", bad, search)]
    if repository is not None:
        tree = f"{parse(bad).family}@."

        def commits(
            found: CommitSearch | None, on_progress: OnProgress, on_step: OnStep
        ) -> CommitSearch:
            assert found is not None
            good, bad = ends_in(repository, found)
            return search_commits(
                repository,
                good,
                bad,
                replace(asked, subject=tree).predicate(),
                on_progress,
                on_step,
                ends.kept(folder_in(repository)),
            )

        stages.append(Stage("commits", tree, commits))
    return stages


def _search_by(ends: Ends, bad: str, predicate_for: Callable[[str], Predicate]) -> Search:
    """The search of releases by a predicate for each."""

    def releases(_: CommitSearch | None, on_progress: OnProgress, on_step: OnStep) -> CommitSearch:
        return search_releases(
            ends.good,
            bad,
            predicate_for,
            ends.kept(folder_of_releases()),
            on_progress,
            on_step,
            walks=ends.walks,
        )

    return releases


def of_commits(asked: Asked, ends: Ends, repo: str) -> Stage:
    """The search of a repository's commits."""
    good = ends.good
    if good is None:
        raise UsageError("--repo needs a good commit: add --good REV")
    predicate = asked.predicate()
    repository = Repository.at(repo)

    def commits(_: CommitSearch | None, on_progress: OnProgress, on_step: OnStep) -> CommitSearch:
        kept = ends.kept(folder_in(repository))
        bad = ends.bad or "HEAD"
        return search_commits(repository, good, bad, predicate, on_progress, on_step, kept)

    return Stage("bisection", asked.subject or str(asked.test), commits)


def of_pairs(asked: Asked, ends: Ends) -> Stage:
    """The search of versions of the subject's package, torch and Triton together."""
    if ends.good is None or ends.bad is None:
        raise UsageError("versions of several parts need both ends: add --good torch==VERSION")
    if ends.walks:
        raise UsageError("--walk is for the releases of one package: leave it out")
    good = read_combination(ends.good, "--good")
    bad = read_combination(ends.bad, "--bad")
    subjects = [part for part in bad if is_subject(part)]
    if len(subjects) + (asked.subject is not None) + (asked.test is not None) != 1:
        msg = "give what is judged once: a SUBJECT, or the release of a package in both ends"
        raise UsageError(f"{msg}, as --bad vllm==0.33.0,torch==2.13.0")
    if subjects and asked.workload is None:
        asked = replace(
            asked, workload=first_workload(None, [f"{subjects[0]}=={bad[subjects[0]]}"])
        )
    asked.checked()
    named = asked.subject or (subjects or [""])[0]

    def pairs(_: CommitSearch | None, on_progress: OnProgress, on_step: OnStep) -> CommitSearch:
        judge = CombinationJudge(
            subject=asked.subject or "",
            words=asked.words(),
            environments=PipEnvironments(),
            kept=ends.kept(folder_of_releases()),
            on_progress=on_progress,
            on_step=on_step,
        )
        return search_pairs(good, bad, judge)

    return Stage("bisection", named, pairs)


def _refuse_beside_a_command(asked: Asked) -> None:
    """Nothing, where the command that is asked has all options itself."""
    if asked.given:
        raise UsageError(f"{asked.given[0]} means nothing beside --by: give it to that command")


def _refuse_for_releases(asked: Asked) -> None:
    """Nothing, where no option was given that is for commits alone."""
    if named := [option for option in asked.given if option in _FOR_COMMITS]:
        raise UsageError(f"{named[0]} is for the commits of a repository: add --repo PATH")
