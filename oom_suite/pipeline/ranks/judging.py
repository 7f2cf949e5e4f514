"""The group's results: every rank's, those that did not answer among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.pipeline.check import exit_code
from oom_suite.records import Result, Verdict
from oom_suite.records.ranks import GroupResult, RankResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.pipeline.ranks.exchange import Answer
    from oom_suite.pipeline.settings import Settings


def judge_group(
    subjects: Sequence[str], settings: Settings, answers: Mapping[int, Answer], num_heads: int
) -> tuple[GroupResult, ...]:
    """The results of all ranks, one group for each subject.

    A rank without a result is `Verdict.INCONCLUSIVE`, with the reason in its own words.
    """
    groups = []
    for index, subject in enumerate(subjects):
        given = [answer.results[index] for answer in answers.values() if answer.results]
        expected = given[0].expected if given else Verdict.PASS
        ranks = []
        for rank, answer in sorted(answers.items()):
            result = (
                answer.results[index]
                if answer.results
                else _missing(subject, settings, expected, f"rank {rank}: {answer.problem}")
            )
            ranks.append(RankResult(rank, _device(answer, result), num_heads, result))
        groups.append(GroupResult(subject, tuple(ranks)))
    return tuple(groups)


def group_exit_code(groups: Sequence[GroupResult]) -> int:
    """0 when every rank of every subject is as expected, 1 for a broken contract, else 3."""
    return exit_code([one.result for group in groups for one in group.ranks])


def _device(answer: Answer, result: Result) -> str:
    """The device's name, where it was measured, and what tells it from others of the same kind."""
    name = "" if result.measurement is None else result.measurement.environment.device
    if name and "=" in answer.device:
        return f"{name} ({answer.device})"
    return name or answer.device or "-"


def _missing(subject: str, settings: Settings, expected: Verdict, reason: str) -> Result:
    return Result(
        subject=subject,
        workload=settings.workload.name,
        lane=settings.lane,
        scenario=settings.scenario,
        sizes=settings.sizes,
        verdict=Verdict.INCONCLUSIVE,
        expected=expected,
        reason=reason,
    )
