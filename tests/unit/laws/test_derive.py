"""Runs over the bound, and runs made to tell growth from a branch."""

from __future__ import annotations

from heap import attention, law_of, verdict_on

from oom_suite.records import Verdict
from oom_suite.workloads.sparse_mla.workload import DECODE_BOUND


def taking(more_bytes):
    """A program whose peak is the bound and so many bytes more."""
    return lambda heap, s: heap.passing("all", DECODE_BOUND(vars(s)) + more_bytes)


def test_a_peak_of_exactly_the_bound_is_within_it():
    """What is promised is "at most": not one run is a violation."""
    assert () == law_of(taking(0)).violations
    judgement = verdict_on(taking(0))
    assert (Verdict.PASS, "within its bound") == (
        judgement.verdict,
        judgement.reason.split(", ")[-1],
    )


def test_one_byte_over_the_bound_is_a_violation_at_every_run():
    """The runs are listed by their peaks, the smallest first."""
    derivation = law_of(taking(1))
    assert derivation.law.num_runs == len(derivation.violations)
    over = {each.peak_bytes - each.limit_bytes for each in derivation.violations}
    peaks = [each.peak_bytes for each in derivation.violations]
    assert ({1}, sorted(peaks)) == (over, peaks)
    assert Verdict.FAIL is verdict_on(taking(1)).verdict


def below_the_peak(num_bytes):
    """A program with a temporary of so many bytes under a larger one, if it takes any."""

    def program(heap, s):
        if num_bytes(s):
            heap.passing("line", num_bytes(s))
        heap.passing("cover", 60 << 20)
        attention(heap, s)

    return program


def test_a_rise_seen_once_is_pressed_until_it_is_growth():
    """Larger pools than any probe's show that a buffer below the peak goes on growing."""
    judgement = verdict_on(below_the_peak(lambda s: s.swa_num_blocks // 2**19))
    assert Verdict.FAIL is judgement.verdict
    assert (
        "an allocation below the peak keeps growing with swa_num_blocks: "
        "0 bytes at swa_num_blocks=4,096, 8 at swa_num_blocks=4,194,304"
    ) == judgement.reason


def test_a_rise_that_stays_as_it_is_is_pressed_and_stays_inconclusive():
    """What a large pool opens once, at its largest sizes too, is a branch."""
    program = below_the_peak(lambda s: 8 * (s.swa_num_blocks > 100_000))
    judgement = verdict_on(program)
    assert Verdict.INCONCLUSIVE is judgement.verdict
    assert (
        "an allocation below the peak depends on swa_num_blocks: "
        "0 bytes at swa_num_blocks=4,096, 8 at swa_num_blocks=1,048,576"
    ) == judgement.reason
    pressed = law_of(program).compared["swa_num_blocks"]
    assert (1 << 21, 1 << 22) == pressed[-2:]


def test_a_fall_is_not_pressed():
    """Bytes that a large pool does without are no growth: nothing larger is run."""
    derivation = law_of(below_the_peak(lambda s: 8 * (s.swa_num_blocks < 100_000)))
    assert 0 == derivation.dependences[0].num_rises
    assert 1 << 21 > max(derivation.compared["swa_num_blocks"])
