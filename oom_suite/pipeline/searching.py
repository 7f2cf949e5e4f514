"""The search for the place where a verdict changes, whatever is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


def search(versions: Sequence[T], like_last: Callable[[T], bool | None]) -> tuple[Boundary[T], ...]:
    """The boundary between versions like the first and versions like the last.

    Objective: two versions of different verdict with none judged between them. Where verdicts
    change more than once, one such boundary is found, as in `git bisect`. After a version that
    cannot be judged the next try is some way off: what does not import rarely stands alone.

    Cost: about ``log2(len(versions))`` calls, and one or two more for each stretch of versions
    that cannot be judged; all of a stretch only where the change is at it.

    Args:
        versions: in order; the first is known to differ from the last, and neither is tried.
        like_last: whether a version has the last one's verdict; None when it has neither.
    """
    low, high = 0, len(versions) - 1
    unjudged: set[int] = set()
    while True:
        middle = (low + high) / 2
        inside = sorted(range(low + 1, high), key=lambda i: (abs(i - middle), i))
        untried = [i for i in inside if i not in unjudged]
        if not untried:
            between = tuple(versions[i] for i in range(low + 1, high))
            return (Boundary(versions[low], versions[high], between),)
        tried = next_of(untried, len(inside) - len(untried))
        verdict = like_last(versions[tried])
        if verdict is None:
            unjudged.add(tried)
        elif verdict:
            high = tried
        else:
            low = tried


def walk(versions: Sequence[T], like_last: Callable[[T], bool | None]) -> tuple[Boundary[T], ...]:
    """Every boundary, the oldest first: each version is tried."""
    found: list[Boundary[T]] = []
    before, is_like_last, unjudged = versions[0], False, list[T]()
    for version in versions[1:]:
        verdict = True if version == versions[-1] else like_last(version)
        if verdict is None:
            unjudged.append(version)
            continue
        if verdict is not is_like_last:
            found.append(Boundary(before, version, tuple(unjudged)))
        before, is_like_last, unjudged = version, verdict, []
    return tuple(found)


def next_of(untried: Sequence[T], num_unjudged: int) -> T:
    """The version to try next.

    Where some of the range could not be judged, it is up to half of the way from its middle to
    its ends: by van der Corput's sequence, so that one try after the other falls into the largest
    gap that the earlier ones left there.

    Args:
        untried: those that can be, the one nearest to the middle first.
        num_unjudged: how many of the range could not be judged.
    """
    part, step = 0.0, 0.5
    while num_unjudged:
        part += step * (num_unjudged & 1)
        num_unjudged >>= 1
        step /= 2
    return untried[int(part * len(untried) / 2)]
