"""What was seen of a subject, put beside what is known of it."""

from __future__ import annotations

from oom_suite.records.selfcheck import Seen
from oom_suite.selfcheck.faults.record import LAW, Mutant, Twin


def seen_as(
    subject: Mutant | Twin,
    detector: str,
    verdict: str,
    named: tuple[str, ...],
    reason: str,
    elapsed_ms: int,
) -> Seen:
    """What was seen of a subject, with what is known of it."""
    is_twin = isinstance(subject, Twin)
    return Seen(
        name=subject.name,
        group="twins" if is_twin else subject.group,
        is_twin=is_twin,
        detector=detector,
        about=subject.oddity if isinstance(subject, Twin) else subject.fault,
        verdict=verdict,
        named=tuple(dict.fromkeys(named)),
        expected=() if isinstance(subject, Twin) else expected_of(subject),
        reason=reason,
        elapsed_ms=elapsed_ms,
        breaks=isinstance(subject, Twin) and detector in subject.breaks,
    )


def expected_of(mutant: Mutant) -> tuple[str, ...]:
    """The names that are right: a kind, and where a hit has a line, its function too."""
    if mutant.detector == LAW or not mutant.places:
        return mutant.expected
    return tuple(f"{kind} in {place}" for kind in mutant.expected for place in mutant.places)
