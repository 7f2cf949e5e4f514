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


def kept(num_bytes):
    return holding(lambda s: num_bytes)


PEAK_BYTES = Code(attention)(SCENARIO).peak().num_bytes


def test_the_peaks_of_both_calls_are_noted():
    assert (
        f"keeps state between calls: {PEAK_BYTES + 8:,} bytes in a first call, {PEAK_BYTES:,} in "
        "a second; each judged by itself"
    ) == judged(kept(8), attention).notes[-1]


def test_the_worse_call_is_the_one_judged_and_only_the_second_is_named():
    """A first call that fails alone, or both that do alike, need no word of it."""
    grows = holding(lambda s: s.swa_num_blocks)
    (blamed,) = judged(grows, attention).blame
    assert "kept" == blamed.function
    reason = "peak grows with swa_num_blocks (1 byte per block)"
    assert reason == judged(grows, attention).reason
    assert reason == judged(grows, holding(lambda s: 2 * s.swa_num_blocks)).reason
    assert f"{reason}, from the second call on" == judged(attention, grows).reason
    assert judged(attention, attention).reason == judged(attention, kept(8)).reason


def test_a_failure_is_worse_than_what_cannot_be_shown_and_that_worse_than_a_pass():
    """Whichever call it is in."""

    def sorts(heap, s):
        heap.sort("sort", s.swa_num_blocks)
        attention(heap, s)

    grows = holding(lambda s: s.swa_num_blocks)
    assert Verdict.FAIL is judged(sorts, grows).verdict
    assert Verdict.FAIL is judged(grows, sorts).verdict
    assert Verdict.INCONCLUSIVE is judged(sorts, attention).verdict
    assert Verdict.INCONCLUSIVE is judged(attention, sorts).verdict
    assert judged(attention, sorts).reason.endswith(", from the second call on")


def test_both_calls_of_a_size_are_made_in_one_process():
    """One run gives the traces of both."""
    calls = []
    code = Code(attention)

    def run(sizes):
        calls.append(tuple(sorted(sizes.items())))
        return code(sizes), code(sizes)

    judge_from_start(run, DECODE, SCENARIO)
    assert len(set(calls)) == len(calls)
