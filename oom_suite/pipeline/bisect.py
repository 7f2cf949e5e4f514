"""Finds the release at which a verdict changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from packaging.version import Version

from oom_suite.errors import UsageError
from oom_suite.pipeline.check import check
from oom_suite.records import Bisection, Verdict
from oom_suite.subjects import family_of, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oom_suite.pipeline.settings import Settings
    from oom_suite.records import Result
    from oom_suite.subjects.family import SubjectFamily


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Boundary(Generic[T]):
    """Two neighbours with different verdicts.

    Attributes:
        before: the last version with the first one's verdict.
        after: the first version with the last one's verdict.
        unjudged: versions between them that could not be judged; the change may be in any.
    """

    before: T
    after: T
    unjudged: tuple[T, ...]


def search(versions: Sequence[T], like_last: Callable[[T], bool | None]) -> Boundary[T]:
    """The boundary between versions like the first and versions like the last.

    Objective: two versions of different verdict with none judged between them. Where verdicts
    change more than once, one such boundary is found, as in `git bisect`. A version that
    cannot be judged is passed over for its nearest untried neighbour.

    Cost: about ``log2(len(versions))`` calls, one more for each version that is unjudged.

    Args:
        versions: in order; the first is known to differ from the last, and neither is tried.
        like_last: whether a version has the last one's verdict; None when it has neither.
    """
    low, high = 0, len(versions) - 1
    unjudged: set[int] = set()
    while True:
        untried = [i for i in range(low + 1, high) if i not in unjudged]
        if not untried:
            between = tuple(versions[i] for i in range(low + 1, high))
            return Boundary(versions[low], versions[high], between)
        middle = (low + high) / 2
        tried = min(untried, key=lambda i: abs(i - middle))
        verdict = like_last(versions[tried])
        if verdict is None:
            unjudged.add(tried)
        elif verdict:
            high = tried
        else:
            low = tried


def bisect_releases(
    good: str | None,
    bad: str,
    settings: Settings,
    on_progress: Callable[[str, str], None],
    on_result: Callable[[Result], None],
) -> Bisection:
    """The neighbouring releases between which the verdict changes.

    Both ends are judged first: a bisection between ends that are not as claimed
    finds nothing. Releases that cannot be judged are passed over.

    Args:
        good: the release that passes, as ``vllm==VERSION``, older or newer than `bad`; None
            for the newest.
        bad: the release that fails.
        settings: how each release is checked.
        on_progress: called with a subject and what it is doing.
        on_result: called with each result.

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
    results: dict[Version, Result] = {}

    def judged(version: Version) -> Result:
        if version not in results:
            results[version] = check(parse(family.release(version)), settings, on_progress).result
            on_result(results[version])
        return results[version]

    for version, wanted, option in (
        (bad_version, Verdict.FAIL, "--bad"),
        (good_version, Verdict.PASS, "--good"),
    ):
        result = judged(version)
        if result.verdict is not wanted:
            msg = (
                f"{option} {result.subject} is {result.verdict.value}, not {wanted.value}: "
                f"{result.reason}"
            )
            raise UsageError(msg)
    first, last = sorted((good_version, bad_version))
    between = [version for version in known if first < version < last]
    last_verdict = judged(last).verdict

    def like_last(version: Version) -> bool | None:
        verdict = judged(version).verdict
        return None if verdict is Verdict.INCONCLUSIVE else verdict is last_verdict

    boundary = search([first, *between, last], like_last)
    return Bisection(
        before=judged(boundary.before),
        after=judged(boundary.after),
        unjudged=tuple(judged(version) for version in boundary.unjudged),
        tried=tuple(results[version] for version in sorted(results)),
    )


def _release(text: str, option: str) -> tuple[SubjectFamily, Version]:
    spec = parse(text)
    if spec.version is None:
        msg = (
            f"{option} {text!r} is not a release: write one, as vllm==VERSION; "
            "for commits, git bisect run oom-suite probe vllm@."
        )
        raise UsageError(msg)
    return family_of(spec), Version(spec.version)
