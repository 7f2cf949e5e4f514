from __future__ import annotations

import pytest
import torch

from oom_suite.records import Verdict
from oom_suite.safety.precision import Precision
from oom_suite.workloads.sparse_mla.builtins import (
    BUILTINS,
    full_dequant_decode,
    token_gather_decode,
)


@pytest.mark.parametrize("name", BUILTINS)
def test_built_ins_are_as_near_as_bf16_allows(safety_target, name):
    """Every layer kind and pattern, in both kinds of fp8, beside the bug's own error."""
    detector = Precision(("full_dequant", full_dequant_decode))
    finding = detector(safety_target(call=BUILTINS[name]))
    facts = dict(finding.facts)
    assert (Verdict.PASS, True) == (finding.verdict, finding.reason.startswith("24 steps"))
    assert facts["max_abs_error_full_dequant"] == facts["max_abs_error"]


def test_a_result_off_by_two_roundings_is_wrong(safety_target):
    """A factor of one and a hundredth is more than bf16's rounding."""

    def fault(step):
        step["output"].mul_(1.01)

    finding = Precision()(safety_target(fault))
    assert (Verdict.FAIL, {"wrong-answer"}) == (
        finding.verdict,
        {hit.kind for hit in finding.hits},
    )


def test_a_single_wrong_value_is_wrong(safety_target):
    """One NaN in one row of one step is a breach."""

    def fault(step):
        if step["swa_only"]:
            step["output"][-1, -1, -1] = float("nan")

    finding = Precision()(safety_target(fault))
    assert (Verdict.FAIL, True) == (
        finding.verdict,
        all(hit.text.startswith("swa_only/") for hit in finding.hits),
    )


def test_the_wrong_kind_of_fp8_is_wrong(safety_target):
    """A call that takes fp8_dtype and reads e4m3fn whatever it is told fails on e4m3fnuz alone."""

    def decode(fp8_dtype=torch.float8_e4m3fn, **step):
        token_gather_decode(**step, fp8_dtype=torch.float8_e4m3fn)

    finding = Precision()(safety_target(call=decode))
    assert 12 == len(finding.hits)
    assert all("e4m3fnuz" in hit.text for hit in finding.hits)


def test_a_call_without_the_choice_is_tried_with_the_targets_fp8(safety_target):
    """vLLM's own functions take no fp8_dtype: twelve steps in the caches' own kind."""
    finding = Precision()(safety_target())
    assert (Verdict.PASS, True) == (finding.verdict, finding.reason.startswith("12 steps"))
