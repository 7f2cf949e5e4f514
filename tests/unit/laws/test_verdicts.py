"""Verdicts on what is no growth with the pool: bounds, scratch, state."""

from __future__ import annotations

from heap import SCENARIO, attention, law_of, verdict_on
from test_planted_faults import FAULTS, MIB, TWINS, faulty

from oom_suite.laws.judge import judge
from oom_suite.records import Verdict
from oom_suite.workloads.sparse_mla.workload import DECODE


def test_growth_in_batch_squared_breaks_the_bound_at_stated_sizes():
    """A mask of tokens by tokens is over the bound somewhere, and the reason says where."""
    judgement = verdict_on(faulty(lambda s: s.num_tokens * s.num_tokens * 64 * 1024))
    assert judgement.verdict is Verdict.FAIL
    assert "peak exceeds its bound" in judgement.reason
    assert "num_tokens=" in judgement.reason
    assert judgement.blame[0].function == "fault"
    assert judgement.blame[0].axis == "num_tokens"


def test_batch_squared_too_small_for_the_runs_breaks_the_bound_in_the_law():
    """One byte per pair of tokens is over the bound for a batch too large to run."""
    judgement = verdict_on(faulty(lambda s: s.num_tokens * s.num_tokens))
    assert judgement.verdict is Verdict.FAIL
    assert "peak exceeds its bound" in judgement.reason
    assert judgement.blame[0].function == "fault"


def test_a_constant_over_the_bound_fails_with_its_line():
    """An over-allocation by a constant passes up to the bound's constant and fails above it."""
    assert verdict_on(faulty(lambda s: 64 * MIB)).verdict is Verdict.PASS
    judgement = verdict_on(faulty(lambda s: 4096 * MIB))
    assert judgement.verdict is Verdict.FAIL
    assert judgement.blame[0].function == "fault"


def test_a_workspace_passed_in_and_reordered_temporaries_pass():
    """Code that allocates nothing, or in another order, has a law and passes."""

    def nothing(heap, s):
        pass

    def reordered(heap, s):
        scores = heap.alloc("scores", s.num_tokens * s.num_heads * s.swa_topk * 4)
        rows = heap.alloc("rows", s.num_tokens * s.swa_topk * 1024)
        heap.free(scores, rows)

    for program in (nothing, reordered):
        assert verdict_on(program).verdict is Verdict.PASS
    assert str(law_of(nothing).law) == "0"


def test_irregular_code_passes_with_a_note_that_the_bound_is_not_proved():
    """What was only checked is not called proved."""
    judgement = verdict_on(faulty(TWINS["splits by waves"]))
    assert judgement.verdict is Verdict.PASS
    assert judgement.reason.endswith("within its bound at every run")
    assert any("not proved in" in note and "num_tokens" in note for note in judgement.notes)


def test_scratch_that_nobody_sees_and_the_pool_feeds_is_inconclusive():
    """A sort over the pool may hide any scratch; one over the top-k is bounded by it."""

    def sorts(num_bytes):
        def program(heap, s):
            heap.sort("sort", num_bytes(s))
            attention(heap, s)

        return program

    over_pool = verdict_on(sorts(lambda s: s.swa_num_blocks * 4))
    assert over_pool.verdict is Verdict.INCONCLUSIVE
    assert "unseen scratch" in over_pool.reason
    assert "swa_num_blocks" in over_pool.reason
    far_only = verdict_on(sorts(lambda s: 64 + (s.swa_num_blocks > 1e5)))
    assert far_only.verdict is Verdict.INCONCLUSIVE
    assert verdict_on(sorts(lambda s: s.swa_topk * 8)).verdict is Verdict.PASS


def test_code_that_keeps_state_between_calls_is_inconclusive():
    """A workspace made once and kept makes runs incomparable: neither green nor blamed."""
    kept = []

    def program(heap, s):
        if not kept:
            kept.append(heap.alloc("workspace", 4096))
        attention(heap, s)

    judgement = verdict_on(program)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "keeps state between calls" in judgement.reason


def test_a_wider_index_type_for_a_large_pool_below_the_peak_is_inconclusive():
    """A bounded allocation that a large pool opens is not growth, and not independence."""

    def program(heap, s):
        if s.swa_num_blocks > 100_000:
            heap.passing("cast", s.num_tokens * s.swa_topk * 8)
        attention(heap, s)

    judgement = verdict_on(program)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "below the peak depends on swa_num_blocks" in judgement.reason


def test_the_number_of_runs_of_regular_code_is_moderate():
    """Seven axes of regular code take no more than 60 runs, whatever the verdict."""
    assert law_of(attention).law.num_runs <= 60
    assert law_of(faulty(FAULTS["product with tokens"])).law.num_runs <= 60
    irregular = law_of(faulty(TWINS["splits by waves"]))
    assert irregular.law.num_runs <= 250


def test_a_verdict_needs_no_torch_and_is_stable():
    """Deriving twice from the same code gives the same law and judgement."""
    first, second = law_of(attention), law_of(attention)
    assert str(first.law) == str(second.law)
    assert judge(first, DECODE) == judge(second, DECODE)
    assert first.law.sizes == SCENARIO
