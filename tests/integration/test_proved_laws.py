"""Laws of the decode step, proved: vLLM's releases and the built-ins, against shadow and GPU."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from fixtures.processes import runs_of
from oom_suite.doors import workload as find_workload
from oom_suite.laws.derive import derive
from oom_suite.laws.proof import CLOSED_FORM, cross_check, prove, sample
from oom_suite.workloads.sparse_mla.geometry.scenarios import SMALL, resize
from oom_suite.workloads.sparse_mla.workload import DECODE, DECODE_SWA

MEASURED = json.loads((Path(__file__).parent / "measured.json").read_text("utf-8"))
AXES = ("block_size", "num_tokens", "num_heads", "swa_topk", "extra_topk")
POOLS = {"swa_num_blocks", "extra_num_blocks"}
POOL_TERMS = "65536*swa_num_blocks + 65536*extra_num_blocks"

registry = pytest.mark.oom_registry
POOLLESS = [
    "token_gather",
    "streaming",
    "block_compaction",
    pytest.param("vllm==0.22.0", marks=registry),
    pytest.param("vllm==0.33.0", marks=registry),
]


def row_name(row):
    return f"{row['vllm']}-{row['num_blocks']}-t{row['num_tokens']}-h{row['num_heads']}"


@pytest.fixture(scope="module")
def proofs():
    """`proofs(subject, workload)`: its proof and the shadow lane, each made once."""
    made = {}
    with contextlib.ExitStack() as stack:

        def proof(subject, name="decode"):
            if (subject, name) not in made:
                workload, sizes = find_workload(name), SMALL.sizes
                runs = stack.enter_context(runs_of(subject, name))

                def fitted():
                    return derive(runs.known, workload, sizes)

                made[subject, name] = prove(runs.symbolic, fitted, workload, sizes), runs.known
            return made[subject, name]

        yield proof


@registry
def test_the_law_of_0_21_0(proofs):
    """The pools stand in every regime, with the coefficients of issue 41962, and no guard."""
    proof, _ = proofs("vllm==0.21.0")
    regimes = {str(regime) for regime in proof.law.regimes}
    assert {
        f"{POOL_TERMS} + 3073*num_tokens*swa_topk + 4098*num_tokens*extra_topk",
        "65536*swa_num_blocks + 82048*extra_num_blocks",
    } <= regimes
    assert len(regimes) == 5
    assert (CLOSED_FORM, (), ()) == (proof.how, proof.guards, proof.branches)


@registry
def test_a_layer_with_a_sliding_window_alone_has_its_own_law(proofs):
    """No extra pool and no extra top-k is in it, and the one pool is."""
    proof, _ = proofs("vllm==0.21.0", "decode-swa")
    assert {
        "65536*swa_num_blocks + 3073*num_tokens*swa_topk",
        "82048*swa_num_blocks",
    } <= {str(regime) for regime in proof.law.regimes}
    assert {"swa_num_blocks", "num_tokens", "num_heads", "swa_topk"} == proof.law.axes


@pytest.mark.parametrize("subject", POOLLESS)
def test_the_cures_have_no_pool_in_any_term(proofs, subject):
    """Proved, not sampled: the pools' axes occur in no regime."""
    proof, _ = proofs(subject)
    assert proof.how == CLOSED_FORM
    assert not POOLS & proof.law.axes


def test_block_compaction_is_a_law_in_distinct_referenced_blocks(proofs):
    """`torch.unique`'s result is named, bounded by the entries and by the pool."""
    proof, _ = proofs("block_compaction")
    assert {"swa_distinct_blocks", "extra_distinct_blocks"} <= proof.law.axes
    bounds = {q.name: [str(bound) for bound in q.at_most] for q in proof.quantities}
    assert bounds["swa_distinct_blocks"] == ["num_tokens*swa_topk", "swa_num_blocks"]


def test_streaming_is_proved_for_its_top_k(proofs):
    """Its loop over chunks makes both top-k numbers; other values have the same law."""
    proof, _ = proofs("streaming")
    assert {"swa_topk": 128, "extra_topk": 512} == {a: v for a, (v, _) in proof.held.items()}
    assert "the same law at swa_topk=1,024" in proof.notes
    assert "171328*num_tokens + 4104*num_tokens*num_heads" == str(proof.law.here)


@pytest.mark.parametrize("workload", [DECODE, DECODE_SWA], ids=lambda w: w.name)
@pytest.mark.parametrize(
    "subject", ["full_dequant", *POOLLESS, pytest.param("vllm==0.21.0", marks=registry)]
)
def test_prove_equals_shadow(proofs, subject, workload):
    """At sampled sizes, the least and the far ones among them, to the byte."""
    proof, shadow = proofs(subject, workload.name)
    points = sample(workload, proof)
    agreement = cross_check(proof, shadow, points)
    assert (len(points), ()) == (len(agreement.agreed), agreement.skipped)


@registry
@pytest.mark.parametrize("row", MEASURED["rows"], ids=row_name)
def test_prove_equals_what_the_gpu_counted(proofs, row):
    """At every row measured on an H200, the law is what its allocator counted, to the byte."""
    proof, _ = proofs(f"vllm=={row['vllm']}")
    sizes = {"num_blocks": row["num_blocks"], **{axis: row[axis] for axis in AXES}}
    sizes = resize(SMALL.sizes, sizes)
    assert row["requested"] == proof.branch_at(sizes).law(sizes)
