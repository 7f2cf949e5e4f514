"""The outcome of each case of bad indices, and the finding on all of them. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.records import Verdict
from oom_suite.records.safety import Finding, Hit, by_what_was_seen

if TYPE_CHECKING:
    from collections.abc import Sequence

NOT_PROVED = (
    "That an impossible index reads nothing outside and discards it; a wild access that "
    "lands in other mapped memory beyond the red zones."
)
RIGHT, IGNORED, UNDEFINED = "right", "ignored", "undefined"
_UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one case.

    Attributes:
        case: the case's name.
        seen: ``right``, ``ignored``, ``undefined``, ``error: ...`` or what else was seen.
        breach: the hit's kind where the case breaks the property; empty where it does not.
        deadly: whether the process can no longer use its GPU.
    """

    case: str
    seen: str
    breach: str = ""
    deadly: bool = False


def unknown_outcome(case: str, seen: str) -> Outcome:
    """A case that came to nothing that can be judged."""
    return Outcome(case, f"{_UNKNOWN}: {seen}")


def judge(outcomes: Sequence[Outcome], cases: Sequence[str]) -> Finding:
    """The finding on all cases: INCONCLUSIVE where one has no outcome and none is a breach."""
    facts = tuple((one.case, one.seen) for one in outcomes)
    hits = tuple(Hit(one.breach, f"{one.case}: {one.seen}") for one in outcomes if one.breach)
    seen_of = dict.fromkeys(cases, f"{_UNKNOWN}: not tried") | dict(facts)
    missing = [
        (case, seen_of[case].removeprefix(f"{_UNKNOWN}: "))
        for case in cases
        if seen_of[case].startswith(_UNKNOWN)
    ]
    if hits:
        reason, verdict = f"{hits[0].kind} at {hits[0].text}", Verdict.FAIL
    elif missing:
        reason, verdict = f"no outcome for {by_what_was_seen(missing)}", Verdict.INCONCLUSIVE
    else:
        seen = [one.seen for one in outcomes]
        num_errors = sum(text.startswith("error") for text in seen)
        reason = (
            f"{len(outcomes)} cases: {seen.count(RIGHT)} right, {seen.count(IGNORED)} ignored, "
            f"{num_errors} refused, {seen.count(UNDEFINED)} undefined; none went outside"
        )
        verdict = Verdict.PASS
    return Finding("indices", verdict, reason, hits, facts, NOT_PROVED)
