"""The named scenarios, and what resizing them allows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oom_suite.errors import UsageError
from oom_suite.workloads.sparse_mla.geometry import AXES, SCENARIOS, resize, scenario
from oom_suite.workloads.sparse_mla.geometry.scenarios import referenced_blocks_limit


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_sets_exactly_the_axes_and_is_possible(name: str) -> None:
    """A scenario has a value for each axis and no more referenced blocks than possible."""
    sizes = scenario(name).sizes
    assert set(AXES) == set(sizes)
    assert sizes["referenced_blocks"] <= referenced_blocks_limit(sizes)
    assert resize(sizes, {}) == sizes


def test_the_issues_allocation_is_reproduced() -> None:
    """221,839 blocks of 64 tokens in bf16 are the 13.54 GiB that 12.74 GiB could not hold."""
    known = scenario("issue-41962")
    pool_bytes = known.sizes["extra_num_blocks"] * known.sizes["block_size"] * 512 * 2
    assert round(pool_bytes / 2**30, 2) == 13.54
    assert known.free_bytes is not None
    assert (round(known.free_bytes / 2**30, 2), True) == (12.74, known.free_bytes < pool_bytes)


def test_an_unknown_scenario_names_the_nearest() -> None:
    """A misspelled scenario is answered with the one that was meant."""
    with pytest.raises(UsageError, match="did you mean 'production'"):
        scenario("prodution")


def test_num_blocks_sets_both_pools_and_a_pools_own_axis_wins() -> None:
    """`num_blocks` stands for both pools unless one of them is given its own size."""
    sizes = resize(scenario("small").sizes, {"num_blocks": 512, "swa_num_blocks": 256})
    assert (256, 512) == (sizes["swa_num_blocks"], sizes["extra_num_blocks"])


def test_resizing_leaves_the_scenario_alone() -> None:
    """The scenario keeps its own sizes."""
    before = dict(scenario("small").sizes)
    resize(scenario("small").sizes, {"num_tokens": 9})
    assert before == scenario("small").sizes


def test_an_unset_number_of_referenced_blocks_follows_its_limit() -> None:
    """Shrinking the pool caps the referenced blocks that the caller did not set."""
    assert resize(scenario("production").sizes, {"num_blocks": 100})["referenced_blocks"] == 100


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(
            {"num_block": 4}, "unknown axis 'num_block'.*did you mean 'num_blocks'", id="near-name"
        ),
        pytest.param({"num_tokens": 0}, "num_tokens is 0: .*at least 1", id="zero"),
        pytest.param({"swa_topk": -1}, "swa_topk is -1: .*at least 1", id="negative"),
        pytest.param({"num_heads": 1.5}, "num_heads is 1.5: choose a whole", id="fraction"),
        pytest.param({"num_heads": True}, "num_heads is True: choose a whole", id="boolean"),
        pytest.param(
            {"referenced_blocks": 65},
            "referenced_blocks is 65: at most 64",
            id="more-than-the-pool",
        ),
        pytest.param(
            {"num_blocks": 9999, "num_tokens": 1, "swa_topk": 2, "referenced_blocks": 3},
            "referenced_blocks is 3: at most 2",
            id="more-than-the-indices",
        ),
    ],
)
def test_impossible_sizes_are_refused(overrides: dict[str, Any], message: str) -> None:
    """An override that cannot be is an error that names the value and what is allowed."""
    with pytest.raises(UsageError, match=message):
        resize(scenario("small").sizes, overrides)


@given(st.dictionaries(st.sampled_from(["num_blocks", *AXES[:-1]]), st.integers(1, 10**6)))
def test_any_resize_without_referenced_blocks_is_possible(overrides: dict[str, int]) -> None:
    """Whatever else is set, the referenced blocks end up within their limit."""
    sizes = resize(scenario("production").sizes, overrides)
    assert 1 <= sizes["referenced_blocks"] <= referenced_blocks_limit(sizes)
