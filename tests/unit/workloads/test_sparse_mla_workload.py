"""The workloads: what their axes may be, and what their contract allows."""

from __future__ import annotations

import pytest

from oom_suite.doors import workload
from oom_suite.errors import UsageError
from oom_suite.workloads.sparse_mla.geometry.scenarios import SCENARIOS
from oom_suite.workloads.sparse_mla.workload import DECODE, DECODE_BOUND, DECODE_SWA

WORKLOADS = {known.name: known for known in (DECODE, DECODE_SWA)}


@pytest.mark.parametrize("known", WORKLOADS.values(), ids=WORKLOADS)
def test_every_scenario_has_every_axis_and_can_be_built(known):
    """A workload is built at each scenario as it stands."""
    for scenario in SCENARIOS.values():
        assert {axis.name for axis in known.axes} <= scenario.sizes.keys()
        assert known.is_valid(scenario.sizes)


@pytest.mark.parametrize("known", WORKLOADS.values(), ids=WORKLOADS)
def test_every_axis_can_be_moved_near_and_far(known):
    """A step upwards and every far value can be built from every scenario."""
    for scenario in SCENARIOS.values():
        for axis in known.axes:
            for value in (*axis.far, scenario.sizes[axis.name] + axis.step):
                settled = known.settle({**scenario.sizes, axis.name: value})
                assert settled is not None
                assert axis.name == "referenced_blocks" or settled[axis.name] == value
            assert min(axis.far) < max(axis.far)


@pytest.mark.parametrize("known", WORKLOADS.values(), ids=WORKLOADS)
def test_the_promise_is_about_pools_alone(known):
    """Each pool axis is forbidden, no other is, and no pool is in the bound."""
    pools = {axis.name for axis in known.axes if axis.name.endswith("num_blocks")}
    assert set(known.contract.independent_of) == pools
    assert not known.contract.at_most.axes & pools


def test_a_pool_step_is_a_whole_number_of_bytes_of_one_bit_a_block():
    """One bit per block is a whole number of bytes a step: its growth is a polynomial."""
    for axis in DECODE.axes:
        if axis.name in DECODE.contract.independent_of:
            assert axis.step % 8 == 0


def test_referenced_blocks_follow_what_pools_and_indices_can_name():
    """The count of referenced blocks settles at the smallest of the four limits."""
    sizes = dict(SCENARIOS["production"].sizes)
    assert DECODE.settle({**sizes, "swa_num_blocks": 64})["referenced_blocks"] == 64
    one = {**sizes, "num_tokens": 1, "swa_topk": 32}
    assert DECODE.settle(one)["referenced_blocks"] == 32


def test_slots_that_no_int32_names_cannot_be_built():
    """A pool whose last slot is past 2**31 - 1 has no sizes to settle at."""
    sizes = {**SCENARIOS["small"].sizes, "block_size": 64}
    most = (2**31 - 1) // 64
    assert DECODE.settle({**sizes, "extra_num_blocks": most}) is not None
    assert DECODE.settle({**sizes, "extra_num_blocks": most + 1}) is None


def test_the_bound_allows_two_float_copies_of_what_is_referenced():
    """At the production scenario the bound is below the whole pool's dequantized bytes."""
    sizes = SCENARIOS["production"].sizes
    referenced_bytes = sizes["referenced_blocks"] * sizes["block_size"] * 512 * 4
    assert 2 * referenced_bytes <= DECODE_BOUND(sizes)
    assert sizes["swa_num_blocks"] * 65536 + 82048 * sizes["extra_num_blocks"] > DECODE_BOUND(sizes)


def test_an_unknown_workload_is_refused_with_the_nearest_name():
    """A misspelt workload names the one that was meant."""
    with pytest.raises(UsageError, match="did you mean 'decode'"):
        workload("decod")
    assert workload("decode") is DECODE
