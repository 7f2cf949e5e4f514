"""Code that keeps state is judged by its first calls and by its second ones."""

from __future__ import annotations

from heap import DECODE, SCENARIO, Code, attention

from oom_suite.laws.from_start import judge_from_start
from oom_suite.records import Verdict


def holding(num_bytes):
    def program(heap, s):
        kept = heap.alloc("kept", num_bytes(s))
        attention(heap, s)
        heap.free(kept)

    return program


def judged(first, second):
    calls = (Code(first), Code(second))
    _, judgement = judge_from_start(
        lambda sizes: tuple(call(sizes) for call in calls), DECODE, SCENARIO
    )
    return judgement


def test_growth_that_waits_for_the_second_call_fails_and_names_its_line():
    """One byte per block in second calls alone is a FAIL that says so."""
    judgement = judged(attention, holding(lambda s: s.swa_num_blocks))
    assert judgement.verdict is Verdict.FAIL
    assert [blame.function for blame in judgement.blame] == ["kept"]
    assert judgement.reason.endswith("from the second call on")


def test_a_workspace_made_once_passes():
    """A constant that only first calls ask for is no growth."""
    judgement = judged(holding(lambda s: 1 << 20), attention)
    assert judgement.verdict is Verdict.PASS, judgement
    assert any("keeps state between calls" in note for note in judgement.notes)
