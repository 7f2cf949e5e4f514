"""A condition that only decides whether to raise needs no value: the code goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from oom_suite.errors import LaneError
from oom_suite.tracing.shadow import ShadowLane

HERE = Path(__file__).parent


def run(body):
    """The requests of ``body(x)``: floats whose values nobody knows."""

    def build(sizes, device):
        x = torch.empty(8, device=device)
        return lambda: body(x)

    return [
        one.requested_bytes
        for one in ShadowLane(HERE, target="cuda:sm_90").run(build, {}).allocations
    ]


def raises_where_any(x):
    if torch.any(x < 0):
        raise ValueError("negative")
    return x + 1


def raises_where_not_all(x):
    if not torch.all(x > 0):
        raise ValueError("negative")
    return x + 1


def raises_where_its_method_says(x):
    if (x < 0).any():
        raise ValueError("negative")
    return x + 1


def raises_over_lines(x):
    if torch.any(
        x < 0,
    ):
        raise ValueError("negative")
    return x + 1


def asserts(x):
    assert (x > 0).all()
    return x + 1


def of_torch(x):
    return F.gaussian_nll_loss(x, x, x)


CHECKS = (
    raises_where_any,
    raises_where_not_all,
    raises_where_its_method_says,
    raises_over_lines,
    asserts,
)


@pytest.mark.parametrize("body", CHECKS)
def test_a_check_passes(body):
    assert [8, 1, 32] == run(body)


def test_a_check_of_torch_s_own_passes():
    assert run(of_torch)


def grows(x):
    if torch.any(x < 0):
        x = torch.cat([x, x])
    return x


def does_more_than_raise(x):
    if torch.any(x < 0):
        x = x + 1
        raise ValueError(x.shape)


def raises_now_and_then(x):
    if torch.any(x < 0):
        if x.numel() > 4:
            raise ValueError("negative")
        x = x + 1


def compares(x):
    if (x[0] < 0).item() == (x[1] < 0).item():
        raise ValueError("alike")


def reads_a_number(x):
    if x.min() < 0 or x.max().item() > 1:
        raise ValueError("outside")


@pytest.mark.parametrize("body", [grows, does_more_than_raise, raises_now_and_then, compares])
def test_a_condition_that_decides_more_is_refused(body):
    """The boundary: one statement, which raises, and nothing else."""
    with pytest.raises(LaneError, match="exists only on a device"):
        run(body)


def test_a_number_is_not_made_up():
    with pytest.raises(LaneError, match="exists only on a device"):
        run(reads_a_number)


def test_code_without_source_is_refused():
    made = {}
    exec("def body(x):\n    if (x < 0).any():\n        raise ValueError\n", made)
    with pytest.raises(LaneError, match="exists only on a device"):
        run(made["body"])


def test_sparse_results_are_refused_in_words():
    def build(sizes, device):
        rows = torch.eye(4).to_sparse_csr().to(device)
        x = torch.ones(4, 4, device=device)
        return lambda: torch.sparse.sampled_addmm(rows, x, x)

    from oom_suite.tracing.lane_spec import LaneSpec
    from oom_suite.tracing.lanes import RunningLane

    lane = RunningLane(LaneSpec("shadow", target="cuda:sm_90"), HERE)
    with pytest.raises(LaneError, match="a sparse tensor"):
        lane.run(build, {})
