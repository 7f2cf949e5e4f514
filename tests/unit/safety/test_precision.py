from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import paged_sums
import pytest
import torch

from oom_suite.records import Verdict
from oom_suite.safety import precision, steps
from oom_suite.safety.precision import Precision
from oom_suite.safety.steps import Target
from oom_suite.workloads.sparse_mla.builtins import (
    BUILTINS,
    full_dequant_decode,
    token_gather_decode,
)

INFINITE = float("inf")


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


def errors(got, expected, allowed):
    tensors = [torch.tensor(one, dtype=torch.float64) for one in (got, expected, allowed)]
    found = precision._errors_of(*tensors)
    return found.largest, found.share, found.allowed


@pytest.mark.parametrize(
    ("got", "expected", "allowed", "found"),
    [
        ([1.0, 2.0], [1.0, 2.0], [0.5, 0.5], (0.0, 0.0, 0.5)),
        ([1.0, 2.5], [1.0, 2.0], [0.5, 0.5], (0.5, 1.0, 0.5)),
        ([1.5, 12.0], [1.0, 10.0], [0.25, 4.0], (2.0, 2.0, 0.25)),
        ([0.0, 1.0], [0.0, 0.0], [0.0, 0.0], (1.0, INFINITE, 0.0)),
        ([0.0, -3.0], [0.0, 1.0], [0.0, 8.0], (4.0, 0.5, 8.0)),
    ],
)
def test_an_error_is_judged_as_a_share_of_what_is_allowed_there(got, expected, allowed, found):
    """Nothing is allowed of nothing: no error is none of it, and any is too much."""
    assert found == errors(got, expected, allowed)


def test_a_result_that_is_no_number_is_infinitely_wrong():
    largest, share, allowed = errors([0.0, float("nan")], [0.0, 1.0], [8.0, 4.0])
    assert (True, INFINITE, 4.0) == (math.isnan(largest), share, allowed)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ((0.5, 1.5, 0.25), "error 0.5, 1.5 times the 0.25 allowed there"),
        ((0.5, INFINITE, 0.0), "error up to 0.5, also where the result has to be exact"),
        (
            (0.5, 1.7976931348623157e308, 0.0),
            "error up to 0.5, also where the result has to be exact",
        ),
        ((math.nan, INFINITE, 4.0), "a result that is not a number"),
    ],
)
def test_a_hit_says_how_wrong_it_is_in_words_where_no_number_does(found, said):
    """Nothing is a number of times the nothing that is allowed."""
    variant = SimpleNamespace(name="three rows")
    assert f"three rows: {said}" == precision._hit(variant, precision._Errors(*found)).text


def test_a_share_of_no_bound_is_said_in_words():
    assert ["150%", "over a bound of 0"] == [precision._percent(n) for n in (1.5, INFINITE)]


@pytest.mark.parametrize(("error", "verdict"), [(1e-5, Verdict.PASS), (1.001e-5, Verdict.FAIL)])
def test_an_error_as_large_as_is_allowed_is_right_and_a_larger_one_is_wrong(
    monkeypatch, error, verdict
):
    """One step of three rows, whose result is returned in float64."""

    def call(pool, table, lens):
        result = paged_sums.oracle({"pool": pool, "table": table, "lens": lens})
        result[1, 2] += error
        return result

    monkeypatch.setattr(paged_sums, "tolerance", lambda step, expected: expected * 0 + 1e-5 + 1e-12)
    steps._named.cache_clear()
    workload = replace(paged_sums.BARE, **paged_sums.FACETS)
    finding = Precision()(Target(call, Path(__file__).parent, workload, torch.device("cpu")))
    steps._named.cache_clear()
    assert verdict is finding.verdict
    assert ["max_abs_error", "bound", "share_of_bound"] == [name for name, _ in finding.facts]
    assert (f"{error:.3g}", "1e-05", "100%") == tuple(text for _, text in finding.facts)
    if verdict is Verdict.PASS:
        assert ("1 steps within 100% of the error that bf16 allows", ()) == (
            finding.reason,
            finding.hits,
        )
    else:
        assert "1 of 1 steps are further from the float64 oracle than bf16 allows" == finding.reason
        (hit,) = finding.hits
        assert "three rows: error 1e-05, 1 times the 1e-05 allowed there" == hit.text


def test_the_worst_step_gives_the_bound_and_every_wrong_one_a_hit(safety_target):
    """A factor of two in the layers with a compressed cache alone."""

    def fault(step):
        if not step["swa_only"]:
            step["output"].mul_(2.0)

    finding = Precision(("full_dequant", full_dequant_decode))(safety_target(fault))
    facts = dict(finding.facts)
    shares = [float(hit.text.partition(", ")[2].partition(" ")[0]) for hit in finding.hits]
    assert all(share > 1 for share in shares)
    assert f"{max(shares):.3g}" == f"{float(facts['share_of_bound'].rstrip('%')) / 100:.3g}"
    worst = finding.hits[shares.index(max(shares))]
    assert worst.text.endswith(f" times the {facts['bound']} allowed there")
    largest = max(float(hit.text.partition("error ")[2].partition(",")[0]) for hit in finding.hits)
    assert f"{largest:.3g}" == facts["max_abs_error"]
    assert float(facts["max_abs_error_full_dequant"]) < largest / 10
    assert finding.reason.startswith(f"{len(finding.hits)} of 12 steps are further")


def test_a_step_that_raises_is_named(safety_target):
    def broken(**step):
        raise ValueError("no")

    finding = Precision()(safety_target(call=broken))
    name = finding.reason.removeprefix("a plain step (").partition(")")[0]
    assert name
    assert (Verdict.INCONCLUSIVE, f"a plain step ({name}) raised ValueError: no", "precision") == (
        finding.verdict,
        finding.reason,
        finding.name,
    )
