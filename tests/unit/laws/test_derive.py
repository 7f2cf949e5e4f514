"""Runs over the bound, and runs made to tell growth from a branch."""

from __future__ import annotations

from dataclasses import replace

from heap import attention, law_of, verdict_on

from oom_suite.records import Contract, Verdict
from oom_suite.workloads.sparse_mla.workload import DECODE, DECODE_BOUND


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


PLACES = (
    lambda s: s.num_tokens == 1,
    lambda s: s.num_tokens > 100,
    lambda s: s.num_heads > 64,
    lambda s: s.extra_topk < 100,
)


def branching(*amounts):
    """A healthy step that takes each amount at a place of its own, if it is not None."""

    def program(heap, s):
        for number, (is_there, amount) in enumerate(zip(PLACES, amounts, strict=True)):
            if amount is not None and is_there(s):
                heap.passing(f"branch_{number}", amount(s))
        attention(heap, s)

    return program


def moved(changes):
    """Where other laws were found, without the axis that follows the others."""
    return [
        {axis: size for axis, size in change.moved.items() if axis != "referenced_blocks"}
        for change in changes
    ]


def constant(number):
    return lambda s: (50 + number) << 20


def growing(number):
    return lambda s: ((50 + number) << 20) + 64 * s.swa_num_blocks


def test_two_other_laws_are_found_and_further_sizes_are_listed():
    """Where the pools change nothing, a third law is not worth its runs."""
    found = law_of(branching(*map(constant, range(4))))
    assert [{"num_tokens": 1}, {"num_heads": 128}] == moved(found.elsewhere)
    assert {64} == {sizes["extra_topk"] for sizes in found.exceptions}
    assert Verdict.PASS is verdict_on(branching(*map(constant, range(4)))).verdict


def test_two_laws_in_which_a_pool_matters_are_found_and_further_sizes_are_listed():
    found = law_of(branching(*map(growing, range(4))))
    assert [{"num_tokens": 1}, {"num_tokens": 128}] == moved(found.elsewhere)
    assert [(128, 512), (16, 64), (16, 64)] == [
        (sizes["num_heads"], sizes["extra_topk"]) for sizes in found.exceptions
    ]


def test_laws_in_which_a_pool_matters_are_counted_apart_from_the_others():
    """One at one token, where none matters, and two where one does."""
    found = law_of(branching(constant(0), None, growing(2), growing(3)))
    assert [{"num_tokens": 1}, {"num_heads": 128}, {"extra_topk": 64}] == moved(found.elsewhere)
    assert () == found.exceptions


def test_growth_beyond_the_first_two_other_laws_is_a_failure_all_the_same():
    """Innocent branches do not use up what is looked for where a pool matters."""
    program = branching(constant(0), constant(1), constant(2), growing(3))
    judgement = verdict_on(program)
    assert (Verdict.FAIL, {"branch_3"}) == (
        judgement.verdict,
        {blame.function for blame in judgement.blame},
    )


def test_a_branch_below_the_peak_is_no_other_law_where_nothing_is_forbidden():
    """Only where a forbidden axis matters does it, whatever it does to the peak."""
    free = replace(DECODE, contract=Contract())

    def program(heap, s):
        if s.num_tokens == 1 or s.num_heads > 64:
            heap.passing("branch", 8)
        heap.passing("cover", 60 << 20)

    found = law_of(program, workload=free)
    assert ((), ()) == (found.elsewhere, found.exceptions)
