from __future__ import annotations

import os
import signal

import pytest
import torch

from oom_suite.records import Verdict
from oom_suite.safety.index_cases import IMPOSSIBLE, OPTIONAL, VALID, cases_of
from oom_suite.safety.index_outcomes import Outcome, judge
from oom_suite.safety.indices import BadIndices, run_case
from oom_suite.workloads.sparse_mla.builtins import BUILTINS, token_gather_decode
from oom_suite.workloads.sparse_mla.workload import DECODE

CASES = cases_of(DECODE, torch.device("cpu"), "generic")
NAMES = [case.name for case in CASES]


def case(name):
    return CASES[NAMES.index(name)]


def guarded_by(change):
    """token_gather with keywords that ``change(step)`` replaces."""

    def decode(**step):
        token_gather_decode(**{**step, **change(step)})

    return decode


@pytest.mark.parametrize("name", BUILTINS)
def test_built_ins_have_an_outcome_for_every_case(safety_target, name):
    """Valid ones are right, negatives and long lens ignored, slots beyond refused by torch."""
    finding = BadIndices()(safety_target(call=BUILTINS[name]))
    seen = dict(finding.facts)
    assert (Verdict.PASS, NAMES) == (finding.verdict, list(seen))
    assert {"right"} == {seen[one.name] for one in CASES if one.asks in {VALID, OPTIONAL}}
    beyond = {name: text for name, text in seen.items() if text.startswith("error")}
    assert ["slot one beyond the pool", "slot 2**31-1"] == list(beyond)
    assert all("IndexError" in text for text in beyond.values())


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (
            "lens from zero to all",
            lambda s: {"swa_lens": torch.full_like(s["swa_lens"], s["swa_indices"].shape[-1])},
        ),
        ("-1 anywhere", lambda s: {"swa_indices": s["swa_indices"].clamp_min(0)}),
        ("lens zero", lambda s: {"swa_lens": s["swa_lens"].clamp_min(1)}),
        (
            "last slot of the last block",
            lambda s: {
                "swa_indices": s["swa_indices"].masked_fill(
                    s["swa_indices"] == s["swa_k_cache"].shape[0] * 8 - 1, -1
                )
            },
        ),
        (
            "strided indices",
            lambda s: {
                "swa_indices": s["swa_indices"].as_strided(
                    s["swa_indices"].shape, (s["swa_indices"].stride(0), 1)
                )
            },
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_answer_to_valid_indices_is_a_breach(safety_target, name, change):
    """Each planted fault is found at the case that is meant for it."""
    outcome = run_case(safety_target(call=guarded_by(change)), case(name))
    assert (name, "wrong-answer") == (outcome.case, outcome.breach)


def test_an_error_on_valid_indices_is_a_breach_and_on_a_dtype_is_not(safety_target):
    """Padding may not be refused; int64 may."""

    def decode(**step):
        if step["swa_indices"].dtype == torch.int64:
            raise TypeError("indices must be int32")
        if bool((step["swa_indices"] < 0).any()):
            raise ValueError("negative")
        token_gather_decode(**step)

    target = safety_target(call=decode)
    assert "refuses-valid" == run_case(target, case("-1 anywhere")).breach
    outcome = run_case(target, case("int64 indices"))
    assert ("error: TypeError: indices must be int32", "") == (outcome.seen, outcome.breach)


def test_an_impossible_slot_may_give_anything_inside(safety_target):
    """Clamping into the pool is undefined, and no breach: it touches nothing outside."""

    def change(step):
        last = step["swa_k_cache"].shape[0] * step["swa_k_cache"].shape[1] - 1
        top = step["kv_cache"].shape[0] * step["kv_cache"].shape[1] - 1
        return {
            "swa_indices": step["swa_indices"].clamp_max(last),
            "topk_indices": step["topk_indices"].clamp_max(top),
        }

    outcome = run_case(safety_target(call=guarded_by(change)), case("slot one beyond the pool"))
    assert ("undefined", "") == (outcome.seen, outcome.breach)


def test_a_read_just_beyond_the_pool_is_seen(safety_target):
    """A result that follows what stands in the red zone is a read outside."""

    def decode(**step):
        slot = int(step["swa_indices"].max())
        pool = step["swa_k_cache"]
        num_slots = pool.shape[0] * pool.shape[1]
        inside = {
            name: step[name].masked_fill(step[name] >= num_slots, -1)
            for name in ("swa_indices", "topk_indices")
        }
        token_gather_decode(**{**step, **inside})
        if slot == num_slots:
            first = pool.storage_offset() + slot * 584
            byte = pool.as_strided((1,), (1,), first)
            step["output"].view(torch.int16)[0, 0, 0] ^= byte[0].to(torch.int16)

    outcome = run_case(safety_target(call=decode), case("slot one beyond the pool"))
    assert "reads-outside" == outcome.breach


def test_a_write_beside_a_buffer_is_seen(safety_target):
    """A write behind lens, when lens is too long, is a write outside."""

    def decode(**step):
        width = step["swa_indices"].shape[-1]
        if int(step["swa_lens"].max()) > width:
            lens = step["swa_lens"]
            lens.as_strided((1,), (1,), lens.storage_offset() + lens.numel()).fill_(0)
        token_gather_decode(**step)

    outcome = run_case(safety_target(call=decode), case("lens one beyond the width"))
    assert "writes-outside" == outcome.breach
    assert "swa_lens" in outcome.seen


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGSEGV, "wild-access"), (signal.SIGKILL, "")]
)
def test_a_crash_is_an_outcome_of_its_case_alone(safety_target, number, expected):
    """A crash is a wild access, another death leaves the case open; this process lives on."""

    def decode(**step):
        if int(step["swa_indices"].min()) == -(2**31):
            os.kill(os.getpid(), number)
        token_gather_decode(**step)

    outcome = run_case(safety_target(call=decode), case("slot -2**31"))
    assert expected == outcome.breach
    assert signal.Signals(number).name in outcome.seen


def test_a_case_without_an_outcome_is_not_green():
    """All cases but one right is inconclusive, and names the one."""
    outcomes = [Outcome(name, "right") for name in NAMES]
    assert Verdict.PASS is judge(outcomes, NAMES).verdict
    finding = judge(outcomes[:-1], NAMES)
    assert (Verdict.INCONCLUSIVE, f"no outcome for {NAMES[-1]}") == (
        finding.verdict,
        finding.reason,
    )


def test_the_impossible_cases_come_last():
    """On a GPU one of them may end the process: what can be known is known before."""
    kinds = [one.asks for one in CASES]
    assert kinds == sorted(kinds, key=(VALID, OPTIONAL, IMPOSSIBLE).index)
