"""The words of a verdict name what changes the most."""

from __future__ import annotations

from heap import attention, verdict_on

from oom_suite.records import Verdict


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
