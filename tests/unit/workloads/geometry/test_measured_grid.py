"""The sizes that predictions are held against."""

from __future__ import annotations

from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.geometry.measured_grid import GRID

TOKEN_BYTES = FP8_DS_MLA_V4.token_bytes


def values(axis):
    return {point.sizes[axis] for point in GRID}


def test_the_grid_covers_what_was_promised():
    assert len(GRID) >= 44
    assert len(GRID) == len({(point.workload, point.name) for point in GRID})
    assert {"decode", "decode-swa"} == {point.workload for point in GRID}
    assert {64, 96, 256} == values("block_size")
    assert {1, 128} <= values("num_tokens")
    assert {8, 128} <= values("num_heads")
    assert {64, 221_839} <= values("swa_num_blocks")


def test_no_pools_are_larger_than_the_bytes_the_module_names():
    largest = max(
        2 * point.sizes["swa_num_blocks"] * point.sizes["block_size"] * TOKEN_BYTES
        for point in GRID
    )
    assert 16_582_946_304 == largest
