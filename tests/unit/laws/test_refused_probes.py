"""Code that cannot be run at some sizes: nothing measured is lost, nothing unknown is green."""

from __future__ import annotations

import pytest
from heap import SCENARIO, Code, attention, law_of, verdict_on

from oom_suite.errors import LaneError
from oom_suite.laws.derive import derive
from oom_suite.records import Verdict
from oom_suite.workloads.sparse_mla.workload import DECODE


def refuses(rule, message="AssertionError: kernel.py:7"):
    """What raises where the rule does not hold."""
    return lambda s: None if rule(s) else LaneError(message)


def growing(heap, s):
    heap.passing("fault", s.swa_num_blocks)
    attention(heap, s)


# Few enough blocks that a single token's indices can name them: tokens can step down to one.
AT_ONE_TOKEN = {"referenced_blocks": 64}

NEEDS = {
    "heads a multiple of 16": lambda s: s.num_heads % 16 == 0,
    "heads a multiple of 8 up to 64": lambda s: s.num_heads % 8 == 0 and s.num_heads <= 64,
    "top-k a multiple of 128": lambda s: s.extra_topk % 128 == 0 and s.swa_topk % 128 == 0,
    "at most 8 tokens": lambda s: s.num_tokens <= 8,
    "at most 4 tokens": lambda s: s.num_tokens <= 4,
    "pools of at least 1,024": lambda s: min(s.swa_num_blocks, s.extra_num_blocks) >= 1024,
    "pools of at most 40,000": lambda s: max(s.swa_num_blocks, s.extra_num_blocks) <= 40_000,
    "pools a multiple of 256": lambda s: s.swa_num_blocks % 256 == s.extra_num_blocks % 256 == 0,
}


@pytest.mark.parametrize("rule", NEEDS.values(), ids=NEEDS)
def test_an_axis_that_refuses_its_step_is_varied_by_another(rule):
    """Larger steps and the other direction are tried: no axis is held, and the law is exact."""
    derivation = law_of(attention, refuses=refuses(rule), at=AT_ONE_TOKEN)
    assert derivation.fixed == {}
    assert derivation.law.held == {"block_size": 64}
    assert str(derivation.law) == str(law_of(attention).law)
    assert verdict_on(attention, refuses=refuses(rule)).verdict is Verdict.PASS


@pytest.mark.parametrize("rule", NEEDS.values(), ids=NEEDS)
def test_a_fault_is_found_among_refusals(rule):
    """Growth fails whatever else cannot be run."""
    judgement = verdict_on(growing, refuses=refuses(rule))
    assert judgement.verdict is Verdict.FAIL
    assert [blame.function for blame in judgement.blame] == ["fault"]


def test_a_pool_that_cannot_be_varied_is_inconclusive_with_the_message():
    """Independence of an axis that was never moved is not shown, and the reason says why."""
    same = SCENARIO["swa_num_blocks"]
    judgement = verdict_on(
        attention, refuses=refuses(lambda s: s.swa_num_blocks == same, "ValueError: no such pool")
    )
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.reason == (
        "swa_num_blocks could not be varied from 32,768: "
        "at swa_num_blocks=32,832: ValueError: no such pool"
    )


def test_an_axis_that_cannot_be_varied_is_held_and_the_note_says_so():
    """The law speaks for the one value of an axis that the code accepts."""
    derivation = law_of(attention, refuses=refuses(lambda s: s.num_heads == 16, "only 16 heads"))
    assert derivation.law.held == {"block_size": 64, "num_heads": 16}
    assert derivation.law.notes == ("held at num_heads=16: at num_heads=24: only 16 heads",)
    assert (
        verdict_on(attention, refuses=refuses(lambda s: s.num_heads == 16)).verdict is Verdict.PASS
    )


def test_refusals_are_noted_once():
    """One note names the first size that could not be run, its message, and how many more."""
    judgement = verdict_on(attention, refuses=refuses(lambda s: s.num_tokens < 100, "too many"))
    (note,) = (note for note in judgement.notes if "could not be run" in note)
    assert note.startswith("could not be run at num_tokens=128")
    assert "too many" in note


def test_code_that_dies_at_its_first_probe_is_inconclusive():
    """After a crash that no run survives, what is left is the scenario alone."""
    calls = []

    def dies(s):
        calls.append(s)
        return LaneError("crashed") if len(calls) > 1 else None

    judgement = verdict_on(attention, refuses=dies)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.reason.endswith("crashed")


def test_a_refused_size_is_asked_for_once():
    """A probe that failed is not run again."""
    code = Code(attention, refuses=refuses(lambda s: s.num_heads == 16))
    derivation = derive(code, DECODE, SCENARIO)
    assert derivation.law.num_runs + len(derivation.refused) + 1 == code.num_calls


def test_a_failure_at_the_scenario_is_raised():
    """Without the scenario's own run there is nothing to judge."""
    with pytest.raises(LaneError, match="nothing runs"):
        law_of(attention, refuses=refuses(lambda s: False, "nothing runs"))
