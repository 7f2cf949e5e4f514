"""One step of `git bisect run`: whether the code as it is is good, and whether that means much."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oom_suite.errors import UsageError, unknown
from oom_suite.pipeline.commits.checkout import Checkouts
from oom_suite.pipeline.commits.guilty import diff_of_guilty
from oom_suite.pipeline.commits.kept import Kept, folder_in
from oom_suite.pipeline.commits.repository import Repository
from oom_suite.pipeline.commits.search import (
    BAD,
    GOOD,
    WANTED,
    CommitJudge,
    named_files,
    require,
)
from oom_suite.records import Verdict
from oom_suite.records.commits import Judged

if TYPE_CHECKING:
    from oom_suite.pipeline.commits.predicate import Predicate
    from oom_suite.pipeline.settings import OnProgress
    from oom_suite.records.commits import Step

EXIT_OLD = 0
EXIT_NEW = 1
EXIT_SKIP = 125
EXIT_STOP = 128
"""What `git bisect run` takes for good, for bad, for a commit to pass over, and for an end.

Source: git 2.39 ``builtin/bisect.c`` (``bisect_run``): 0, 125, 1 to 127, and 128 and above.
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a probe says.

    Attributes:
        code: the exit code.
        judged: what was found of the code as it is.
        good: what was found at the good end; None where none is known.
        diff: how the guilty lines changed since then, as git shows it.
        refusal: why the search must stop; empty where it goes on.
    """

    code: int
    judged: Judged
    good: Step | None = None
    diff: tuple[str, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    """The ends of the search that this step belongs to.

    Attributes:
        repository: whose commits.
        good: the good end's name.
        bad: the bad end's name; empty where it is not known.
        is_given: whether the user named the good end, and not git.
    """

    repository: Repository
    good: str
    bad: str = ""
    is_given: bool = False


def probe(predicate: Predicate, expect: str, good: str, on_progress: OnProgress) -> Answer:
    """Whether the code in the current folder is as expected.

    Where the good end of the search is known, the same question is asked there first, once for
    all steps: a question that is not answered with "good" there would lead to a wrong commit.

    Args:
        predicate: what makes the code good or bad.
        expect: ``"good"``, or ``"bad"`` where the commit is looked for that repaired it.
        good: the good end, as git names commits; empty for the one that a running `git bisect`
            was given, if there is one.
        on_progress: given what is being done.

    Raises:
        UsageError: `expect` or `good` cannot be used.
    """
    if expect not in WANTED:
        raise unknown("--expect", expect, WANTED)
    known = _known(expect, good)
    ends = () if known is None else _ends(predicate, known, on_progress)
    good_end = next((step for step in ends if step.end == GOOD), None)
    if known is not None and (refusal := _refusal(ends, is_given=known.is_given)):
        return Answer(EXIT_STOP, Judged(), refusal=refusal)
    is_good = good_end is not None and good_end.judged.verdict is Verdict.PASS
    judged = predicate.judge(good_end.judged if good_end and is_good else None, on_progress)
    if judged.verdict is Verdict.INCONCLUSIVE:
        if good_end is not None and not is_good:
            return Answer(EXIT_STOP, judged, good_end, refusal=_neither(good_end))
        return Answer(EXIT_SKIP, judged, good_end)
    code = EXIT_OLD if judged.verdict is WANTED[expect] else EXIT_NEW
    diff: tuple[str, ...] = ()
    if known is not None and good_end is not None and judged.verdict is Verdict.FAIL:
        head = known.repository.commit("HEAD", "HEAD")
        diff = diff_of_guilty(known.repository, good_end.commit, head, judged, is_after=True)
    return Answer(code, judged, good_end, diff)


def is_bisecting() -> bool:
    """Whether a `git bisect` is running in the current folder's repository."""
    try:
        return Repository.at(Path.cwd()).bisect_ends() is not None
    except (UsageError, OSError):
        return False


def _known(expect: str, good: str) -> _Known | None:
    """The ends that this step is to be checked against; None where none are known.

    Raises:
        UsageError: the one that was given is no commit.
    """
    if good:
        repository = Repository.at(Path.cwd())
        return _Known(repository, repository.commit(good, "--good"), is_given=True)
    try:
        repository = Repository.at(Path.cwd())
    except UsageError:
        return None
    ends = repository.bisect_ends()
    if ends is None:
        return None
    # A search for a repair goes from bad to good.
    older, newer = (ends.old, ends.new) if expect == GOOD else (ends.new, ends.old)
    return _Known(repository, older, newer)


def _ends(predicate: Predicate, known: _Known, on_progress: OnProgress) -> tuple[Step, ...]:
    """What is found at the ends, now or at an earlier step."""
    repository = known.repository
    with Checkouts(repository, named_files(repository, predicate)) as places:
        kept = Kept(folder_in(repository))
        judge = CommitJudge(repository, predicate, places, on_progress, kept)
        good_end = judge.good_end(known.good)
        if not known.bad or good_end.judged.verdict is not Verdict.PASS:
            return (good_end,)
        return (good_end, judge.step(known.bad, good_end.judged, BAD))


def _refusal(ends: tuple[Step, ...], *, is_given: bool) -> str:
    """Why no search between these ends can end at the right commit; empty where it can.

    An end that cannot be judged in a folder of its own, as where something has to be built first,
    is no reason yet, unless the user named it to be checked.
    """
    for step in ends:
        if step.judged.verdict is Verdict.INCONCLUSIVE and not (is_given and step.end == GOOD):
            continue
        try:
            require(step)
        except UsageError as error:
            return str(error)
    return ""


def _neither(good_end: Step) -> str:
    commit = good_end.title.partition(" ")[0]
    return (
        f"neither this commit nor the good end, {commit}, can be judged: {good_end.judged.reason}"
    )
