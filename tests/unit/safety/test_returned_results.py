"""Workloads whose result is returned, stands in an argument, or is several tensors at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from oom_suite.doors import workload
from oom_suite.records import Verdict
from oom_suite.safety.capture import on_cpu
from oom_suite.safety.guarded import guard_step
from oom_suite.safety.index_cases import IndexCase
from oom_suite.safety.indices import run_case
from oom_suite.safety.precision import Precision
from oom_suite.safety.steps import Target, errors
from oom_suite.safety.writes import Writes
from oom_suite.selfcheck.faults import indexer, layer_caches, sampling
from oom_suite.workloads.indexer.oracle import decode_oracle
from oom_suite.workloads.indexer.variants import DISPATCHED, StepOptions, small_decode
from oom_suite.workloads.sampling.variants import small_top_k_top_p, top_k_top_p_oracle

CPU = torch.device("cpu")


def target(name, call):
    return Target(call, Path(__file__).parent, workload(name), CPU)


def kept_on_the_host(logits, k, p):
    return sampling.kept(logits, torch.tensor(k.tolist()), p)


@pytest.mark.parametrize(
    ("call", "kinds"), [(sampling.kept, set()), (kept_on_the_host, {"stale-replay"})]
)
def test_a_replay_of_what_a_call_returns_follows_new_contents(call, kinds):
    """A k that was read on the host stays in the graph."""
    assert kinds == {hit.kind for hit in on_cpu(target("top-k-top-p", call))} - {"wrong-replay"}


@pytest.mark.parametrize(("in_place", "verdict"), [(("logits",), Verdict.PASS), ((), Verdict.FAIL)])
def test_a_result_may_stand_where_the_convention_says(in_place, verdict):
    """Elsewhere a changed input is a breach."""
    known = workload("top-k-top-p")
    known = replace(known, convention=replace(known.convention, in_place=in_place))
    finding = Writes()(replace(target("top-k-top-p", sampling.kept), workload=known))
    assert verdict is finding.verdict


def test_each_tensor_of_a_tuple_is_between_red_zones():
    """A prefill's keys and scales come as a pair."""
    wanted = target("indexer-prefill", None)
    (variant,) = wanted.variants.plain(wanted.workload, CPU, "generic")
    step = variant.make()
    guarded = guard_step(wanted, step)
    assert {"kv[0]", "kv[1]"} <= set(guarded.buffers)
    assert all(map(torch.equal, map(torch.Tensor.float, step["kv"]), (
        one.float() for one in guarded.step["kv"]
    )))  # fmt: skip


@pytest.mark.parametrize(
    ("keep", "verdict"),
    [(lambda pairs: pairs, Verdict.PASS), (lambda pairs: pairs[:1], Verdict.FAIL)],
    ids=["all", "one layer"],
)
def test_every_result_that_the_oracle_knows_is_compared(keep, verdict):
    """A layer whose keys and values are missing is as wrong as one with others."""

    def call(**step):
        return keep(layer_caches.layers(step, torch.Tensor.clone))

    assert verdict is Precision()(target("dynamic-cache", call)).verdict


def test_infinite_where_infinite_is_expected_is_right_and_another_shape_is_not():
    expected = torch.tensor([-torch.inf, 1.0, 2.0], dtype=torch.float64)
    got = torch.tensor([-torch.inf, 1.0, -torch.inf])
    assert [0.0, 0.0, torch.inf] == errors(got, expected).tolist()
    assert [torch.inf] * 3 == errors(got[:2], expected).tolist()


def test_what_triton_s_interpreter_cannot_do_is_no_breach_of_the_code():
    """Such as a pointer to MI300's own fp8."""

    class InterpreterError(Exception):
        pass

    def call(**_):
        raise InterpreterError("fail to convert fp8e4b8 to ir type")

    seen = run_case(target("indexer-logits", call), IndexCase("as they are", "valid"))
    assert ("", True) == (seen.breach, seen.seen.startswith("not known: InterpreterError"))


def test_a_logit_is_what_is_positive_of_each_head_weighted_and_scaled():
    """The first of two tokens sees all keys but the last: by hand, from a block's two halves."""
    step = small_decode(StepOptions(context_lens=(3,), next_n=2, num_heads=2))
    block = step["kv_cache"][step["block_tables"][0, 0]].flatten()
    keys = block[: 8 * 128].view(torch.float8_e4m3fn).view(8, 128).double()
    scales = block[8 * 128 :].view(torch.float32).double()
    heads = step["q"][0, 0].double() @ keys[1]
    by_hand = sum(
        float(weight) * max(0.0, float(head)) * float(scales[1])
        for weight, head in zip(step["weights"][0], heads, strict=True)
    )
    found = decode_oracle(step)
    assert by_hand == pytest.approx(found[0, 1].item(), rel=1e-12)
    assert [2, 3] == (found > -torch.inf).sum(dim=1).tolist()


def test_what_stands_behind_the_keys_does_not_count_where_nobody_looks_at_it():
    """Two tokens of a request with three keys: the first sees two."""
    step = {"q": torch.zeros(1, 2, 1, 128), "context_lens": torch.tensor([3])}
    (counted,) = DISPATCHED.counted(step, (torch.ones(2, 5),))
    assert [2, 3] == (counted == 1).sum(dim=1).tolist()


def test_the_token_that_reaches_p_is_kept():
    """Of 0.5, 0.3 and 0.2, two have 0.6 together; k of one leaves the likeliest alone."""
    logits = torch.tensor([[0.5, 0.2, 0.3]] * 2).log()
    step = {"logits": logits, "k": torch.tensor([3, 1]), "p": torch.tensor([0.6, 0.99])}
    kept = top_k_top_p_oracle(step) > -torch.inf
    assert [[True, False, True], [True, False, False]] == kept.tolist()
    assert torch.equal(kept, sampling.kept(**step) > -torch.inf)


def test_small_steps_of_another_seed_have_the_same_shapes_and_other_contents():
    """So that one can be written into the buffers of the other."""
    one, other = small_top_k_top_p(CPU, 0), small_top_k_top_p(CPU, 1)
    assert {name: value.shape for name, value in one.items()} == {
        name: value.shape for name, value in other.items()
    }
    assert not torch.equal(one["logits"], other["logits"])


def test_the_healthy_indexer_gives_the_oracle_s_logits_of_a_context_without_keys():
    """A row of a padded batch."""
    step = small_decode(StepOptions(context_lens=(0, 9)))
    assert torch.equal(decode_oracle(step) == -torch.inf, indexer.paged(step) == -torch.inf)
