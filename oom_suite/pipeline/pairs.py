"""Finds which version of which part turned a verdict, where several changed: vLLM, torch, Triton.

Each combination is judged by a Python of its own.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from oom_suite import doors
from oom_suite.errors import OomSuiteError, UsageError
from oom_suite.pipeline.commits.command import COMMAND
from oom_suite.pipeline.commits.kept import Kept, Question, content_of_subject, judged_of
from oom_suite.pipeline.commits.search import BAD, GOOD, changes_of, require
from oom_suite.pipeline.searching import search
from oom_suite.processes.commands import run_command
from oom_suite.records import Verdict
from oom_suite.records.commits import CommitSearch, Judged
from oom_suite.subjects.families.releases import Project

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.pipeline.environments import Environments
    from oom_suite.pipeline.settings import OnProgress
    from oom_suite.records.commits import Step

    Combination = Mapping[str, Version]


def read_combination(text: str, option: str) -> dict[str, Version]:
    """The versions that an end of the search is made of: ``vllm==0.22.0,torch==2.13.0``.

    Raises:
        UsageError: it cannot be read, or names a part twice.
    """
    found: dict[str, Version] = {}
    for part in text.split(","):
        name, _, version = (each.strip() for each in part.partition("=="))
        try:
            known = Version(version)
        except InvalidVersion:
            msg = f"{option} {text!r}: {part!r} is not NAME==VERSION; write torch==2.13.0"
            raise UsageError(msg) from None
        if name in found:
            raise UsageError(f"{option} {text!r} names {name} twice: leave one out")
        found[name] = known
    return found


def spelled(combination: Mapping[str, Version | str]) -> str:
    """``vllm==0.22.0 torch==2.13.0``."""
    return " ".join(f"{name}=={version}" for name, version in combination.items())


@dataclass
class CombinationJudge:
    """Judges combinations of versions, each once, each by a Python that has them.

    Attributes:
        subject: what is judged; empty where it is the release that a combination names.
        words: the options of `probe`.
        environments: where Pythons come from.
        kept: what was found before.
        on_progress: given what is being done.
        on_step: given each combination that was judged.
        steps: all that was judged, in order.
    """

    subject: str
    words: tuple[str, ...]
    environments: Environments
    kept: Kept
    on_progress: OnProgress
    on_step: Callable[[Step], None]
    steps: dict[str, Step] = field(default_factory=dict)

    def step(self, combination: Combination, end: str = "") -> Step:
        """What is found of a combination."""
        name = spelled(combination)
        if name not in self.steps:
            self.steps[name] = self._judged(combination, name, end)
            self.on_step(self.steps[name])
        return self.steps[name]

    def _judged(self, combination: Combination, name: str, end: str) -> Step:
        subject = self.subject or next(
            f"{part}=={version}" for part, version in combination.items() if is_subject(part)
        )
        versions = {
            part: str(version) for part, version in combination.items() if not is_subject(part)
        }
        question = Question(("combination", name, subject, *self.words))
        content = content_of_subject(subject)
        return self.kept.step(
            name, question, content, lambda: self._probed(subject, versions), end=end
        )

    def _probed(self, subject: str, versions: Mapping[str, str]) -> Judged:
        """What `probe` says in a Python with these versions."""
        try:
            python = self.environments.python(versions, self.on_progress)
            path = self.environments.path()
        except OomSuiteError as error:
            return Judged(problem=str(error))
        self.on_progress(subject, f"judging it with {spelled(versions) or 'what is here'}")
        with tempfile.TemporaryDirectory(prefix="oom-suite-probe-") as folder:
            file, log = Path(folder) / "probe.json", Path(folder) / "log"
            command = [str(python), "-c", COMMAND, "probe", subject, *self.words, f"--json={file}"]
            run_command(command, {**os.environ, "PYTHONPATH": _with_own(path)}, log)
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            try:
                body = json.loads(file.read_text(encoding="utf-8"))
                judged = judged_of(body["probe"])
                made = body["environment"]
            except (OSError, ValueError, KeyError, TypeError, UsageError):
                return Judged(
                    problem=f"{subject}: no verdict: {(said or ['nothing was said'])[-1]}"
                )
        named = ("Python", "python"), ("torch", "torch"), ("Triton", "triton")
        with_these = ", ".join(f"{title} {made[part]}" for title, part in named if made[part])
        return replace(
            judged,
            findings=tuple(
                replace(each, judged_as=f"{each.judged_as}; with {with_these}")
                for each in judged.findings
            ),
        )


def _with_own(path: str) -> str:
    """The path with the user's own folders, but those that have a torch."""
    own = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(
        [path, *(each for each in own if each and not Path(each, "torch").is_dir())]
    )


def is_subject(part: str) -> bool:
    """Whether a part of a combination is the package whose code is judged."""
    return part in doors.families()


def search_pairs(good: Combination, bad: Combination, judge: CombinationJudge) -> CommitSearch:
    """The part, and its two neighbouring versions, between which the verdict changes.

    From the good combination to the bad one a part at a time is changed, the subject's release
    first, since it needs no other Python. Where the verdict turns, the versions of that part are
    searched, the others held.

    Args:
        good: the version of each part of a combination that is good.
        bad: of one that is bad.
        judge: what judges them.

    Raises:
        UsageError: an end is not as claimed, or the two are not of the same parts.
        FetchError: the list of a part's releases cannot be had.
    """
    path = _path(good, bad)
    good_step, bad_step = judge.step(path[0], GOOD), judge.step(path[-1], BAD)
    require(good_step)
    require(bad_step)

    def is_bad(combination: Combination) -> bool | None:
        verdict = judge.step(combination).judged.verdict
        return None if verdict is Verdict.INCONCLUSIVE else verdict is Verdict.FAIL

    (found,) = search(path, is_bad)
    before, after = found.before, found.after
    unjudged = list(found.unjudged)
    moved = [part for part in after if before[part] != after[part]]
    if len(moved) == 1:
        between = [{**before, moved[0]: each} for each in _between(moved[0], before, after)]
        (found,) = search([before, *between, after], is_bad)
        before, after, unjudged = found.before, found.after, list(found.unjudged)
    then, now = judge.step(before), judge.step(after)
    return CommitSearch(
        first=now,
        before=then,
        unjudged=tuple(judge.step(each) for each in unjudged),
        steps=tuple(judge.steps.values()),
        is_repair=False,
        changes=changes_of(then.judged, now.judged),
        noun="combination",
    )


def _path(good: Combination, bad: Combination) -> list[dict[str, Version]]:
    """The combinations from the good one to the bad one, a part at a time."""
    if set(good) != set(bad):
        msg = f"--good is of {', '.join(good)} and --bad of {', '.join(bad)}: name the same parts"
        raise UsageError(msg)
    parts = sorted(good, key=lambda part: (not is_subject(part), list(good).index(part)))
    path = [{part: good[part] for part in parts}]
    for part in parts:
        if good[part] != bad[part]:
            path.append({**path[-1], part: bad[part]})
    if len(path) == 1:
        raise UsageError(f"--good and --bad are the same, {spelled(good)}: give two different ones")
    return path


def _between(part: str, before: Combination, after: Combination) -> Sequence[Version]:
    """The releases of a part between two, from the one to the other."""
    if is_subject(part):
        known = doors.families()[part].releases()
    else:
        from oom_suite.subjects.families.registry import index_versions

        known = index_versions(Project(part, part, "wheel"))
    first, last = sorted((before[part], after[part]))
    found = [version for version in known if first < version < last]
    return found if before[part] == first else found[::-1]
