"""Results: as JSON values, in the documented layout."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from oom_suite.records import (
    AllocatorPeaks,
    Blame,
    BudgetFit,
    Environment,
    Frame,
    Law,
    Measurement,
    Polynomial,
    Reading,
    Reconciliation,
    Result,
    Unseen,
    Verdict,
)


def result(**changes):
    facts = {
        "subject": "vllm==0.21.0",
        "workload": "decode",
        "lane": "shadow",
        "scenario": "small",
        "sizes": {"pool": 3},
        "verdict": Verdict.FAIL,
        "reason": "grows with pool",
    }
    return Result(**(facts | changes))


def test_a_bare_result_has_every_documented_key():
    body = json.loads(json.dumps(result().to_json()))
    assert set(body) >= {
        "subject",
        "workload",
        "lane",
        "scenario",
        "verdict",
        "expected",
        "reason",
        "law",
        "peak_requested_bytes",
        "peak_allocated_bytes",
        "largest_request_bytes",
        "budget",
        "blame",
        "unseen",
    }
    assert (body["law"], body["budget"], body["blame"], body["unseen"]) == (None, None, [], [])


def test_a_full_result_keeps_its_figures_exactly():
    law = Law(
        (Polynomial.of({("pool",): 82048, (): Fraction(1, 2)}), Polynomial.of({("pool",): 1})),
        {"pool": 3},
        held={"block_size": 64},
        num_runs=9,
        notes=("a branch",),
    )
    body = json.loads(
        json.dumps(
            result(
                law=law,
                peak_requested_bytes=(1 << 62) + 1,
                budget=BudgetFit("H200", 5, fits=False),
                blame=(Blame("f.py", 9, "g", 100, "pool", 82048.0),),
                unseen=(Unseen("aten.sort", (Frame("f.py", 1, "g"),), 8, "why"),),
                measurement=Measurement(
                    Environment("cpu", "a CPU", "x86_64", "", "", "2.13.0", ""),
                    readings=(Reading("VmHWM", "process resident", 4),),
                ),
                reconciliation=Reconciliation(AllocatorPeaks(4, 512, 512, 1 << 21), 5),
            ).to_json()
        )
    )
    assert body["law"]["text"] == "82048*pool + 0.5"
    assert body["law"]["terms"] == [
        {"axes": ["pool"], "coefficient": 82048},
        {"axes": [], "coefficient": 0.5},
    ]
    assert [regime["text"] for regime in body["law"]["regimes"]] == ["82048*pool + 0.5", "pool"]
    assert (body["law"]["held"], body["law"]["num_runs"]) == ({"block_size": 64}, 9)
    assert body["peak_requested_bytes"] == (1 << 62) + 1
    assert body["budget"] == {"name": "H200", "free_bytes": 5, "fits": False}
    assert body["blame"][0]["bytes_per_unit"] == 82048
    assert body["unseen"][0]["where"] == ["f.py:1 (g)"]
    assert body["measurement"]["environment"]["device"] == "a CPU"
    assert body["measurement"]["readings"][0]["num_bytes"] == 4
    assert body["reconciliation"]["predicted"]["allocated_bytes"] == 512
    assert body["reconciliation"]["unexplained_requested_bytes"] == 1
    assert body["reconciliation"]["unexplained_allocated_bytes"] is None


def test_a_coefficient_beyond_a_floats_53_bits_is_written_exactly():
    law = Law((Polynomial.of({("pool",): (1 << 60) + 1}),), {})
    assert result(law=law).to_json()["law"]["terms"][0]["coefficient"] == (1 << 60) + 1


@pytest.mark.parametrize(
    ("verdict", "expected", "as_expected"),
    [
        (Verdict.PASS, Verdict.PASS, True),
        (Verdict.FAIL, Verdict.PASS, False),
        (Verdict.FAIL, Verdict.FAIL, True),
        (Verdict.PASS, Verdict.FAIL, False),
        (Verdict.INCONCLUSIVE, Verdict.PASS, False),
    ],
)
def test_a_result_is_as_expected_only_with_the_expected_verdict(verdict, expected, as_expected):
    assert result(verdict=verdict, expected=expected).as_expected is as_expected
