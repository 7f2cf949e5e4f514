from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
import torch

from oom_suite.processes.forked import in_fork
from oom_suite.records import Verdict
from oom_suite.safety import indices
from oom_suite.safety.index_cases import IMPOSSIBLE, OPTIONAL, VALID, cases_of
from oom_suite.safety.index_outcomes import Outcome, judge, unknown_outcome
from oom_suite.safety.indices import BadIndices, names_of_cases, run_case
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
    assert {"right"} == {seen[one.name] for one in CASES if one.expects in {VALID, OPTIONAL}}
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
    assert Verdict.INCONCLUSIVE is finding.verdict
    assert f"no outcome for {NAMES[-1]}: not tried" == finding.reason


def test_cases_without_an_outcome_for_one_reason_are_told_it_once():
    """And the others apart."""
    outcomes = [Outcome(name, "right") for name in NAMES[:-3]]
    outcomes += [unknown_outcome(name, "killed by SIGKILL") for name in NAMES[-3:-1]]
    assert judge(outcomes, NAMES).reason == (
        f"no outcome for {NAMES[-3]}, {NAMES[-2]}: killed by SIGKILL; {NAMES[-1]}: not tried"
    )


def test_the_impossible_cases_come_last():
    """On a GPU one of them may end the process: what can be known is known before."""
    kinds = [one.expects for one in CASES]
    assert kinds == sorted(kinds, key=(VALID, OPTIONAL, IMPOSSIBLE).index)


WORDS = {
    "illegal memory access": True,
    "illegal address": True,
    "misaligned address": True,
    "device-side assert": False,
    "unspecified launch failure": False,
    "AcceleratorError": False,
}


@pytest.mark.parametrize("expects", [VALID, OPTIONAL, IMPOSSIBLE])
@pytest.mark.parametrize(("words", "is_wild"), WORDS.items())
def test_an_error_of_a_gpu_ends_the_cases_and_may_be_a_wild_access(
    safety_target, words, is_wild, expects
):
    """What it did to memory is not looked at: nothing can be read any more."""

    def decode(**step):
        step["q"].zero_()
        raise RuntimeError(f"CUDA error: {words} was met")

    one = replace(case("-1 anywhere"), expects=expects)
    refuses = "refuses-valid" if expects == VALID else ""
    assert Outcome(
        one.name,
        f"error: RuntimeError: CUDA error: {words} was met",
        "wild-access" if is_wild else refuses,
        deadly=True,
    ) == run_case(safety_target(call=decode), one)


def test_a_deadly_case_is_the_last_one_that_is_run(safety_target):
    calls = []

    def decode(**step):
        calls.append(1)
        raise RuntimeError("device-side assert")

    finding = BadIndices()(safety_target(call=decode))
    assert (Verdict.FAIL, 1) == (finding.verdict, len(finding.facts))
    assert 1 == len(calls)


def test_an_error_that_is_no_gpus_leaves_the_memory_to_be_looked_at(safety_target):
    """A refusal that wrote an input before is a write."""

    def decode(**step):
        step["q"].zero_()
        raise ValueError("no")

    outcome = run_case(safety_target(call=decode), case("slot -2"))
    assert ("writes-outside", False) == (outcome.breach, outcome.deadly)
    assert outcome.seen.endswith(" bytes of or beside q were written")


def test_the_bytes_written_are_counted_and_those_of_the_output_are_not(safety_target):
    """Three bytes behind the output, and the output itself, whole."""

    def extra(step):
        output = step["output"]
        output.fill_(0)
        last = output.storage_offset() + output.numel()
        output.as_strided((2,), (1,), last).view(torch.uint8)[:3] ^= 255

    outcome = run_case(safety_target(extra), case("-1 anywhere"))
    assert ("3 bytes of or beside output were written", "writes-outside") == (
        outcome.seen,
        outcome.breach,
    )


def test_a_result_that_follows_the_red_zones_names_their_poison(safety_target):
    """NaN is the first of them; valid indices are not tried with it."""

    def extra(step):
        pool = step["swa_k_cache"]
        num_bytes = pool.shape[0] * pool.stride(0)
        behind = pool.as_strided((1,), (1,), pool.storage_offset() + num_bytes)
        step["output"].view(torch.int16)[0, 0, 0] ^= behind[0].to(torch.int16)

    outcome = run_case(safety_target(extra), case("slot -2"))
    assert (
        "the result depends on memory outside (NaN poison)",
        "reads-outside",
    ) == (outcome.seen, outcome.breach)


@pytest.mark.parametrize(
    ("number", "is_wild"),
    [
        (signal.SIGSEGV, True),
        (signal.SIGBUS, True),
        (signal.SIGABRT, True),
        (signal.SIGILL, True),
        (signal.SIGKILL, False),
        (signal.SIGTERM, False),
    ],
)
def test_each_signal_of_a_wrong_address_is_a_wild_access(safety_target, number, is_wild):
    def decode(**step):
        os.kill(os.getpid(), number)

    outcome = run_case(safety_target(call=decode), case("slot -2"))
    assert "wild-access" * is_wild == outcome.breach
    assert is_wild != outcome.seen.startswith("not known: ")


def test_impossible_cases_run_in_one_fork_and_in_forks_of_their_own_after_a_breach(
    safety_target, monkeypatch
):
    """Of a minute each; what can be harmful is never run in this process."""
    forks = []

    def forked(run, limit_s):
        forks.append(limit_s)
        return in_fork(run, limit_s)

    monkeypatch.setattr(indices, "in_fork", forked)
    num_impossible = sum(one.expects == IMPOSSIBLE for one in CASES)
    assert Verdict.PASS is BadIndices()(safety_target()).verdict
    assert [60.0] == forks

    def breaks(**step):
        if int(step["swa_indices"].min()) == -2:
            step["q"].zero_()
        token_gather_decode(**step)

    finding = BadIndices()(safety_target(call=breaks))
    assert ["slot -2"] == [hit.text.partition(":")[0] for hit in finding.hits]
    assert [60.0] * (2 + num_impossible) == forks

    def crashes(**step):
        if int(step["swa_indices"].min()) == -2:
            os.kill(os.getpid(), signal.SIGSEGV)
        token_gather_decode(**step)

    finding = BadIndices()(safety_target(call=crashes))
    assert ["wild-access"] == [hit.kind for hit in finding.hits]
    assert [60.0] * (3 + 2 * num_impossible) == forks


def test_cases_have_names_where_the_workload_has_what_they_need():
    assert NAMES == names_of_cases(DECODE, "generic")
    for facet in ("variants", "oracle", "tolerance"):
        assert [] == names_of_cases(replace(DECODE, **{facet: ""}), "generic")
    assert [] == names_of_cases(replace(DECODE, pools=()), "generic")


def test_what_is_not_referenced_holds_small_numbers_that_are_finite_in_every_format(safety_target):
    """The same in each call: a result that follows them is told by what it reads, not by chance."""
    seen = []

    def extra(step):
        pool = step["swa_k_cache"]
        named = step["swa_indices"][step["swa_indices"] >= 0].unique() // pool.shape[1]
        others = [block for block in range(len(pool)) if block not in named]
        seen.append(pool[others[0]].clone())

    for _ in range(2):
        run_case(safety_target(extra), case("-1 anywhere"))
    assert torch.equal(*seen)
    assert (63, True) == (int(seen[0].max()), len(seen[0].unique()) > 50)
