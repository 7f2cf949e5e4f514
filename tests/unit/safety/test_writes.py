from __future__ import annotations

import pytest
import torch

from oom_suite.records import Verdict
from oom_suite.safety.writes import Writes
from oom_suite.workloads.sparse_mla.builtins import BUILTINS, token_gather_decode


def past(tensor, num_elements):
    """The element so many behind a tensor's first, wherever it lies."""
    return tensor.as_strided((1,), (1,), tensor.storage_offset() + num_elements)


@pytest.mark.parametrize("name", BUILTINS)
@pytest.mark.parametrize("workload", ["decode", "decode-swa"])
def test_built_ins_write_output_and_nothing_else(safety_target, name, workload):
    """All of output is written, rows of length zero included, and no other byte."""
    finding = Writes()(safety_target(workload=workload, call=BUILTINS[name]))
    assert (Verdict.PASS, ()) == (finding.verdict, finding.hits)


@pytest.mark.parametrize(
    ("behind", "first_byte"),
    [(0, 3 * 8 * 512 * 2), (-1 - 3 * 8 * 512, -2)],
    ids=["after", "before"],
)
def test_one_element_beside_output_is_found(safety_target, behind, first_byte):
    """The element just past either end of output is in a red zone, one byte from its edge."""

    def fault(step):
        past(step["output"], step["output"].numel() + behind).fill_(1.0)

    hit = Writes()(safety_target(fault)).hits[0]
    assert ("writes-outside", "output", 1) == (
        hit.kind,
        hit.region.tensor,
        hit.region.distance_bytes,
    )
    assert first_byte <= hit.region.first_byte < first_byte + 2


def test_the_last_element_of_output_may_be_written(safety_target):
    """The healthy twin writes the very last element again."""

    def twin(step):
        past(step["output"], step["output"].numel() - 1).fill_(0.5)

    assert Verdict.PASS is Writes()(safety_target(twin)).verdict


@pytest.mark.parametrize(
    ("name", "kind"),
    [("swa_k_cache", "writes-cache"), ("q", "writes-input"), ("swa_lens", "writes-input")],
)
def test_one_changed_byte_of_an_input_is_found(safety_target, name, kind):
    """The last element of a cache, of q or of lens, changed, is a hit with its place."""

    def fault(step):
        flat = step[name].flatten() if name != "swa_k_cache" else step[name][-1, -1]
        step[name][(-1,) * step[name].dim()] = flat[-1] + 1

    hit = Writes()(safety_target(fault, workload="decode-swa")).hits[0]
    assert (kind, name) == (hit.kind, hit.region.tensor)
    if kind == "writes-cache":
        assert (23, 7, 1) == (hit.region.block, hit.region.slot, hit.region.num_bytes)


def test_writes_into_page_padding_are_writes_into_the_cache(safety_target):
    """Padding belongs to the pool: a workspace may not be hidden there."""

    def fault(step):
        pool = step["kv_cache"]
        if pool is not None and pool.stride(0) > pool.shape[1] * 584:
            past(pool, pool.shape[1] * 584).fill_(3)

    hit = Writes()(safety_target(fault)).hits[0]
    assert ("writes-cache", 0, None) == (hit.kind, hit.region.block, hit.region.slot)


def _leaving(rows):
    def decode(output, **step):
        whole = torch.empty_like(output)
        token_gather_decode(output=whole, **step)
        rows(output, whole, step)

    return decode


def test_a_row_left_unwritten_is_found(safety_target):
    """Rows of length zero that are skipped keep what stood there before."""

    def rows(output, whole, step):
        for token in range(len(output)):
            if step["swa_lens"][token] > 0:
                output[token] = whole[token]

    hit = Writes()(safety_target(call=_leaving(rows), workload="decode-swa")).hits[0]
    assert ("leaves-output-unwritten", 0, 8 * 512 * 2) == (
        hit.kind,
        hit.region.first_byte,
        hit.region.num_bytes,
    )
    assert "4,096 of 12,288 elements" in hit.text


def test_a_single_element_left_unwritten_is_found(safety_target):
    """One element of one row is enough."""

    def rows(output, whole, step):
        output.flatten()[:-1] = whole.flatten()[:-1]

    hit = Writes()(safety_target(call=_leaving(rows), workload="decode-swa")).hits[0]
    assert ("leaves-output-unwritten", 2) == (hit.kind, hit.region.num_bytes)


def test_nan_that_is_computed_is_written(safety_target):
    """A result of NaN is no unwritten element: arithmetic gives another NaN."""

    def rows(output, whole, step):
        output.copy_(whole * float("nan"))

    assert Verdict.PASS is Writes()(safety_target(call=_leaving(rows))).verdict


def test_a_workspace_of_its_own_may_be_written(safety_target):
    """What the step allocates is its own."""

    def twin(step):
        torch.empty_like(step["q"]).fill_(1.0)

    assert Verdict.PASS is Writes()(safety_target(twin)).verdict


def test_a_step_that_raises_proves_nothing(safety_target):
    """What a plain step raises is the reason; nothing is green."""

    def broken(**step):
        raise ValueError("no")

    finding = Writes()(safety_target(call=broken))
    assert (Verdict.INCONCLUSIVE, True) == (finding.verdict, "ValueError: no" in finding.reason)
