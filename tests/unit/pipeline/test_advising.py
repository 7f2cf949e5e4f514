"""What could not be judged says what to do next, whatever kept it from being judged."""

from __future__ import annotations

import pytest
import torch
from studied import studied

from oom_suite.errors import LaneError
from oom_suite.pipeline.advising import ANYTHING, advice_on
from oom_suite.processes.child import ChildError
from oom_suite.processes.child_main import Outcome
from oom_suite.pytest_plugin.judging import contract_text
from oom_suite.records import Verdict

AXES = {"n": 8, "pool": 64}


def reads_a_value(sizes, device):
    x = torch.zeros(sizes.n, device=device)
    return lambda: x.sum().item()


def raises(sizes, device):
    def call():
        raise ValueError("no")

    return call


def branches_on_data(sizes, device):
    x = torch.zeros(sizes.n, sizes.pool, device=device)

    def call():
        rows = torch.nonzero(x[:, 0])[:, 0]
        return x[rows] if rows.shape[0] > 5 else x * 2

    return call


def has_one_size_of_the_pool(sizes, device):
    if sizes.pool != 64:
        raise ValueError("only 64")
    x = torch.zeros(sizes.n, device=device)
    return lambda: x * 2


def differs_below_the_peak(sizes, device):
    small = torch.zeros(3 if sizes.pool > 100 else 2, device=device)
    large = torch.zeros(sizes.n, 4096, device=device)

    def call():
        small.mul(2)
        return large * 2

    return call


def factorizes(sizes, device):
    x = torch.zeros(sizes.n, sizes.pool, device=device)
    return lambda: torch.linalg.qr(x)


@pytest.mark.parametrize(
    ("build", "promised"),
    [
        (reads_a_value, {"independent_of": "pool"}),
        (raises, {"independent_of": "pool"}),
        (branches_on_data, {"at_most": "1MiB*n*pool"}),
        (has_one_size_of_the_pool, {"independent_of": "pool"}),
        (differs_below_the_peak, {"independent_of": "pool"}),
        (factorizes, {"at_most": "1MiB*n*pool"}),
    ],
)
def test_it_says_what_to_do(build, promised):
    """In every text that a reader sees: also where not even a law was found."""
    result = studied(build, axes=AXES, **promised)
    assert Verdict.INCONCLUSIVE is result.verdict
    assert result.advice
    assert ANYTHING not in result.advice
    lines = contract_text(result).splitlines()
    assert f"  next     {result.advice[0]}" in lines
    assert list(result.advice) == result.to_json()["advice"]


def test_a_green_result_has_nothing_to_do():
    result = studied(has_one_size_of_the_pool, axes={"n": 8, "pool": 64}, linear_in="n")
    assert "  next " not in contract_text(result)


@pytest.mark.parametrize("outcome", Outcome)
def test_each_way_not_to_run_has_an_advice(outcome):
    assert advice_on(ChildError(outcome, "why"))


def test_what_a_lane_refuses_says_what_to_do_itself():
    assert "as the reason says" in advice_on(LaneError("convert the tensors"))
