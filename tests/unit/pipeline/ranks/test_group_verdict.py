"""The group is judged by its worst rank, and a rank without an answer is one of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rich.console import Console

from oom_suite.pipeline.ranks.exchange import Answer
from oom_suite.pipeline.ranks.group import Group
from oom_suite.pipeline.ranks.judging import group_exit_code, judge_group
from oom_suite.pipeline.ranks.torchrun import say_why
from oom_suite.pipeline.settings import Settings
from oom_suite.records import Result, Verdict
from oom_suite.records.measurement import AllocatorPeaks, Environment, Measurement
from oom_suite.report.ranks import group_line, render_ranks

SETTINGS = Settings(scenario="small", sizes={"num_heads": 32}, lane="measure")
H200 = Environment("cuda", "NVIDIA H200", "sm_90", "580", "CUDA 13.0", "2.11.0", "")
KIB = 1024


def result(verdict, allocated_bytes=KIB, expected=Verdict.PASS, **fields):
    return Result(
        subject="token_gather",
        workload="decode",
        lane="measure",
        scenario="small",
        sizes={"num_heads": 32},
        verdict=verdict,
        expected=expected,
        reason="because",
        peak_allocated_bytes=allocated_bytes,
        **fields,
    )


def judged(*results):
    answers = {rank: Answer(f"gpu{rank}", (one,)) for rank, one in enumerate(results)}
    (group,) = judge_group(["token_gather"], SETTINGS, answers, 32)
    return group


PASS, FAIL, OPEN = (result(verdict) for verdict in Verdict)
BUG = result(Verdict.FAIL, expected=Verdict.FAIL)


@pytest.mark.parametrize(
    ("results", "worst_rank", "verdict", "code"),
    [
        ((PASS, PASS), 0, Verdict.PASS, 0),
        ((PASS, result(Verdict.PASS, KIB + 1)), 1, Verdict.PASS, 0),
        ((result(Verdict.PASS, 9 * KIB), FAIL), 1, Verdict.FAIL, 1),
        ((FAIL, result(Verdict.FAIL, KIB + 1)), 1, Verdict.FAIL, 1),
        ((result(Verdict.PASS, 9 * KIB), OPEN), 1, Verdict.INCONCLUSIVE, 3),
        ((OPEN, FAIL), 1, Verdict.FAIL, 1),
        ((BUG, BUG), 0, Verdict.FAIL, 0),
        ((BUG, replace(BUG, verdict=Verdict.INCONCLUSIVE)), 1, Verdict.INCONCLUSIVE, 3),
        ((BUG, replace(BUG, verdict=Verdict.PASS)), 1, Verdict.PASS, 1),
    ],
    ids=[
        "all-pass",
        "the-largest-peak",
        "one-fails",
        "the-largest-failure",
        "one-is-open",
        "a-failure-before-an-open-one",
        "a-known-bug",
        "a-known-bug-with-one-open",
        "a-known-bug-gone-on-one-rank",
    ],
)
def test_the_worst_rank_is_the_groups(results, worst_rank, verdict, code):
    """A known bug on every other rank hides neither a lost rank nor a changed one."""
    group = judged(*results)
    assert (worst_rank, verdict) == (group.worst.rank, group.verdict)
    assert code == group_exit_code([group])


def test_a_rank_without_an_answer_is_inconclusive_and_says_why():
    """It is expected to be what the others are."""
    answers = {0: Answer("gpu0", (BUG,)), 1: Answer("", (), "it hangs")}
    (group,) = judge_group(["full_dequant"], SETTINGS, answers, 32)
    lost = group.ranks[1]
    assert (Verdict.INCONCLUSIVE, "rank 1: it hangs") == (lost.result.verdict, lost.result.reason)
    assert (Verdict.FAIL, "-") == (lost.result.expected, lost.device)


def test_the_devices_own_figures_are_shown_and_judged_by():
    """Not the prediction that stands beside them."""
    peaks = AllocatorPeaks(2 * KIB, 3 * KIB, 3 * KIB, 4 * KIB)
    measured = result(Verdict.PASS, measurement=Measurement(H200, peaks))
    group = judged(result(Verdict.PASS, 2 * KIB), measured)
    worst = group.worst
    assert (1, 2 * KIB, 3 * KIB, 4 * KIB) == (
        worst.rank,
        worst.requested_bytes,
        worst.allocated_bytes,
        worst.reserved_bytes,
    )


def test_the_table_has_a_row_for_each_rank():
    """And the group's verdict with the rank that gave it."""
    peaks = AllocatorPeaks(2 * KIB, 3 * KIB, 3 * KIB, 4 * KIB)
    measured = result(Verdict.PASS, measurement=Measurement(H200, peaks))
    answers = {
        0: Answer("CUDA_VISIBLE_DEVICES=6", (measured,)),
        1: Answer("", (), "it hangs"),
    }
    groups = judge_group(["token_gather"], SETTINGS, answers, 32)
    console = Console(width=120, record=True, quiet=False, force_terminal=False)
    with console.capture() as capture:
        render_ranks(groups, "64 heads (DeepSeek-V4-Flash), 32 on each rank", console)
    shown = [" ".join(line.split()) for line in capture.get().splitlines() if line]
    assert "2 ranks: 64 heads (DeepSeek-V4-Flash), 32 on each rank" == shown[0]
    assert "rank device heads requested allocated reserved verdict" == shown[2]
    gpu = "NVIDIA H200 (CUDA_VISIBLE_DEVICES=6)"
    assert f"0 {gpu} 32 2.00 KiB 3.00 KiB 4.00 KiB PASS" == shown[4]
    assert "1 - 32 - - - INCONCLUSIVE" == shown[5]
    assert "INCONCLUSIVE token_gather, by rank 1: it hangs" == group_line(groups[0])


def test_json_holds_every_rank():
    """With its result in the layout of check."""
    body = judged(PASS, FAIL).to_json()
    assert ("FAIL", 1) == (body["verdict"], body["worst_rank"])
    assert [("gpu0", 32, "PASS"), ("gpu1", 32, "FAIL")] == [
        (one["device"], one["num_heads"], one["result"]["verdict"]) for one in body["ranks"]
    ]


@pytest.mark.parametrize("rank", [0, 1])
def test_torchrun_is_told_why_and_shows_rank_0_last(tmp_path, rank):
    """It shows the earliest failure last."""
    file = tmp_path / "error.json"
    say_why("FAIL, by rank 1", 1, Group(rank, rank, 2, 2), {"TORCHELASTIC_ERROR_FILE": str(file)})
    message = json.loads(file.read_text())["message"]
    assert ("FAIL, by rank 1", 1) == (message["extraInfo"]["py_callstack"], message["errorCode"])


def test_without_torchrun_nothing_is_written(tmp_path):
    """Another launcher gives no file."""
    say_why("FAIL", 1, Group(0, 0, 1, 1), {})
    assert [] == list(tmp_path.iterdir())
