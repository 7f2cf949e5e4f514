"""Flex attention's maps: a place for each block of the pool is allowed, by design, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from oom_suite.doors import workload
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.workloads.flex_maps import step


def peak_bytes(build, call, sizes):
    """Peak requested bytes of a call with inputs of these sizes."""

    def made(sizes, device):
        inputs = build(sizes, device)
        return lambda: call(**inputs)

    return ShadowLane(Path(__file__).parent).run(made, sizes).peak().num_bytes


def one_place(block_table, seq_lens, block_size, total_blocks):
    return torch.full((block_table.shape[0], total_blocks), -1, device=block_table.device)


def two_places(block_table, seq_lens, block_size, total_blocks):
    places = one_place(block_table, seq_lens, block_size, total_blocks)
    return places, places + 1


@pytest.mark.parametrize(("call", "fits"), [(one_place, True), (two_places, False)])
def test_an_inverse_map_has_one_int64_for_each_block_and_request(call, fits):
    known = workload("flex-inverse-map")
    sizes = known.scenario("server").sizes
    bound = known.contract.at_most(sizes)
    assert fits == (peak_bytes(step.build_inverse, call, sizes) <= bound)


def one_table(x, M):
    return torch.full((x.shape[0], M + 1), x.shape[1], device=x.device)


def two_tables(x, M):
    return one_table(x, M), one_table(x, M)


@pytest.mark.parametrize(("call", "fits"), [(one_table, True), (two_tables, False)])
def test_a_search_for_duplicates_has_one_table(call, fits):
    known = workload("flex-unique-blocks")
    sizes = known.scenario("server").sizes
    bound = known.contract.at_most(sizes)
    assert fits == (peak_bytes(step.build_unique, call, sizes) <= bound)


def test_block_numbers_are_valid_in_a_pool_smaller_than_what_is_named():
    sizes = {"num_blocks": 8, "block_size": 16, "batch": 2, "blocks_of_each": 16, "groups": 3}
    inverse = step.build_inverse(sizes, "cpu")
    assert (7, [256, 256], 8) == (
        int(inverse["block_table"].max()),
        inverse["seq_lens"].tolist(),
        inverse["total_blocks"],
    )
    unique = step.build_unique(sizes, "cpu")
    assert ((3, 16), 7, 8) == (tuple(unique["x"].shape), int(unique["x"].max()), unique["M"])
