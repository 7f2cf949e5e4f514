"""Binary search for the place where a verdict changes, past versions that cannot be judged."""

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
