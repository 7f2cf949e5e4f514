"""The words of a verdict name what changes the most."""

from __future__ import annotations

import dataclasses

import pytest
from heap import attention, law_of, verdict_on

from oom_suite.laws.judge import judge
from oom_suite.records import Verdict
from oom_suite.workloads.sparse_mla.workload import DECODE


def changing(**lines):
    """A healthy step beside temporaries that take other bytes with a large pool."""

    def program(heap, s):
        for line, (small_pool, large_pool) in lines.items():
            heap.passing(line, large_pool if s.swa_num_blocks > 100_000 else small_pool)
        attention(heap, s)

    return program


def test_of_lines_below_the_peak_the_one_that_changes_most_is_named():
    """A fall of 4,000 bytes is more than a rise of 100."""
    judgement = verdict_on(changing(falls=(5000, 1000), rises=(100, 200)))
    assert Verdict.INCONCLUSIVE is judgement.verdict
    assert (
        "an allocation below the peak depends on swa_num_blocks: "
        "5,000 bytes at swa_num_blocks=4,096, 1,000 at swa_num_blocks=1,048,576"
    ) == judgement.reason


def test_a_large_rise_is_named_before_a_small_fall():
    """The same two lines the other way round."""
    judgement = verdict_on(changing(falls=(200, 100), rises=(1000, 5000)))
    assert judgement.reason.endswith(
        ": 1,000 bytes at swa_num_blocks=4,096, 5,000 at swa_num_blocks=1,048,576"
    )


def judged(program, *unrecorded):
    return judge(dataclasses.replace(law_of(program), unrecorded=unrecorded), DECODE)


def growing(heap, s):
    """A healthy step beside a byte for each block."""
    heap.passing("grows", s.swa_num_blocks)
    attention(heap, s)


@pytest.mark.parametrize(
    ("unrecorded", "reason"),
    [
        (("a thread works on",), "a thread works on"),
        (("one", "two", "three"), "one; two; three"),
        (("one", "two", "three", "four", "five"), "one; two; three; and 2 more"),
    ],
)
def test_what_was_not_recorded_keeps_a_verdict_from_being_green(unrecorded, reason):
    """Its twin, of which all was recorded, is."""
    assert Verdict.PASS is judged(attention).verdict
    judgement = judged(attention, *unrecorded)
    assert (Verdict.INCONCLUSIVE, reason) == (judgement.verdict, judgement.reason)


def test_a_promise_that_was_shown_to_be_broken_stays_broken():
    """Whatever else was not recorded."""
    judgement = judged(growing, "a thread works on")
    assert Verdict.FAIL is judgement.verdict
    assert "swa_num_blocks" in judgement.reason
