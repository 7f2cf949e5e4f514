"""`oom-suite bisect`: the release, or the commit, at which a verdict changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oom_suite.cli.options import Json
from oom_suite.cli.predicates import Asked, asks
from oom_suite.cli.progress import Progress
from oom_suite.cli.settings import first_workload
from oom_suite.errors import UsageError
from oom_suite.laws.lockfile import DEFAULT_FILE
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
from oom_suite.pipeline.releases import ends_in, is_release, search_releases
from oom_suite.records.commits import CommitSearch, Step
from oom_suite.report.commits import render_search, step_line
from oom_suite.report.output import Output
from oom_suite.report.screen import say, screen
from oom_suite.subjects import parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from oom_suite.pipeline.settings import OnProgress

    OnStep = Callable[[Step], None]

EXIT_OPEN = 3
"""The change is in one of several commits or releases, some of which could not be judged."""


@dataclass(frozen=True, slots=True)
class _Ends:
    """Where a search begins and ends, and how it goes.

    Attributes:
        good: the good end; None for the newest release.
        bad: the bad end; None where it was not given.
        walks: whether all in between are judged.
        is_fresh: whether what was found before is left unread.
    """

    good: str | None
    bad: str | None
    walks: bool
    is_fresh: bool

    def kept(self, folder: Path) -> Kept:
        """What was found before, in this folder."""
        return Kept(folder, reads=not self.is_fresh)


@dataclass(frozen=True, slots=True)
class _Stage:
    """One search of a command.

    Attributes:
        key: what its JSON is called.
        name: what is judged in it.
        search: given what the stage before it found, if there was one.
    """

    key: str
    name: str
    search: Callable[[CommitSearch | None, OnProgress, OnStep], CommitSearch]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command("bisect")
    @asks
    def bisect_command(
        asked: Asked,
        *,
        repo: Annotated[
            str | None,
            typer.Option(
                "--repo",
                metavar="PATH",
                help="search the commits of this git repository; with releases as ends, the "
                "release first, and then its commits",
            ),
        ] = None,
        bad: Annotated[
            str | None,
            typer.Option(
                "--bad",
                help="a release that fails, vllm==VERSION; versions that do, vllm==VERSION,"
                "torch==VERSION; with --repo a commit, or HEAD",
            ),
        ] = None,
        good: Annotated[
            str | None,
            typer.Option(
                "--good",
                help="one that passes, older or newer; the newest release where not given",
            ),
        ] = None,
        walk: Annotated[
            bool, typer.Option("--walk", help="judge every release between the two ends")
        ] = False,
        fresh: Annotated[
            bool, typer.Option("--fresh", help="judge all anew, whatever was found before")
        ] = False,
        json: Json = None,
    ) -> None:
        """Find the release or the commit between a good and a bad one at which the verdict changes.

        Both ends are judged first. Exits 0 when it is found, 2 on bad usage and where an end is
        not as claimed, 3 when it may be in one that could not be judged.
        """
        ends = _Ends(good, bad, walk, fresh)
        if repo is None and "==" in (bad or "") and not is_release(bad):
            stages = [_of_pairs(asked, ends)]
        elif repo is None or is_release(bad):
            stages = _of_releases(asked, ends, repo)
        elif walk:
            raise UsageError("--walk is for releases: give two as --good and --bad")
        else:
            stages = [_of_commits(asked, ends, repo)]
        raise typer.Exit(_run(stages, json))


def _run(stages: list[_Stage], json: Json) -> int:
    """Search in one stage after the other, and print what each ended with; the exit code."""
    known: dict[str, Any] = {}
    found: CommitSearch | None = None
    with Output(json, lambda: known) as output:
        for stage in stages:
            steps: list[Step] = []

            def on_step(step: Step, stage: _Stage = stage, steps: list[Step] = steps) -> None:
                steps.append(step)
                known[stage.key] = {"steps": [each.to_json() for each in list(steps)]}
                output.keep()
                progress.done(stage.name, step_line(step))

            with Progress() as progress:
                found = stage.search(found, progress.update, on_step)
            known[stage.key] = found.to_json()
            if stage is not stages[0]:
                say("")
            render_search(found, screen())
        output.finish()
    return EXIT_OPEN if found is not None and found.unjudged else 0


def _of_releases(asked: Asked, ends: _Ends, repo: str | None) -> list[_Stage]:
    """The search of releases, and with a repository that of the commits between the two found."""
    bad = ends.bad
    if bad is None:
        raise UsageError("give --bad vllm==VERSION, or for commits --repo PATH and --good REV")
    _refuse_for_releases(asked)
    workload = first_workload(asked.workload, [bad])
    asked = replace(asked, workload=workload)
    asked.checked()
    repository = None if repo is None else Repository.at(repo)

    def releases(
        found: CommitSearch | None, on_progress: OnProgress, on_step: OnStep
    ) -> CommitSearch:
        del found
        return search_releases(
            ends.good,
            bad,
            lambda name: replace(asked, subject=name).predicate(),
            ends.kept(folder_of_releases()),
            on_progress,
            on_step,
            walks=ends.walks,
        )

    stages = [_Stage("bisection", bad, releases)]
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

        stages.append(_Stage("commits", tree, commits))
    return stages


def _of_commits(asked: Asked, ends: _Ends, repo: str) -> _Stage:
    """The search of a repository's commits."""
    good = ends.good
    if good is None:
        raise UsageError("--repo needs a good commit: add --good REV")
    predicate = asked.predicate()
    repository = Repository.at(repo)

    def commits(
        found: CommitSearch | None, on_progress: OnProgress, on_step: OnStep
    ) -> CommitSearch:
        del found
        kept = ends.kept(folder_in(repository))
        bad = ends.bad or "HEAD"
        return search_commits(repository, good, bad, predicate, on_progress, on_step, kept)

    return _Stage("bisection", asked.subject or str(asked.test), commits)


def _of_pairs(asked: Asked, ends: _Ends) -> _Stage:
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

    def pairs(found: CommitSearch | None, on_progress: OnProgress, on_step: OnStep) -> CommitSearch:
        del found
        judge = CombinationJudge(
            subject=asked.subject or "",
            words=asked.words(),
            environments=PipEnvironments(),
            kept=ends.kept(folder_of_releases()),
            on_progress=on_progress,
            on_step=on_step,
        )
        return search_pairs(good, bad, judge)

    return _Stage("bisection", named, pairs)


def _refuse_for_releases(asked: Asked) -> None:
    """Nothing, where no option was given that is for commits alone."""
    given = {
        "SUBJECT": asked.subject,
        "--test": asked.test,
        "--locked": asked.locked,
        "--file": asked.file != DEFAULT_FILE,
        "--stub": asked.stub,
        "--package": asked.package,
    }
    named = [name for name, value in given.items() if value]
    if named:
        raise UsageError(f"{named[0]} is for the commits of a repository: add --repo PATH")
