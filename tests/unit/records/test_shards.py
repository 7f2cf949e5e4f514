"""Shares of a scan: every unit in one, about as many in each, whatever order they come in."""

from __future__ import annotations

import pytest

from oom_suite.records.scan import Unit
from oom_suite.records.shards import Shard

UNITS = tuple(
    Unit(f"vllm=={release}", workload, "plain", "generic")
    for release in ("0.21.0", "0.33.0", "0.4.0")
    for workload in ("decode", "penalties", "indexer-logits")
)


def shares(units, num_shards):
    keys = tuple(unit.key for unit in units)
    return [Shard(number + 1, num_shards, keys, False).own(units) for number in range(num_shards)]


@pytest.mark.parametrize("num_shards", [1, 2, 4, 9, 11])
def test_every_unit_is_in_one_share_and_shares_are_as_large_as_each_other(num_shards):
    found = shares(UNITS, num_shards)
    assert sorted(UNITS) == sorted(unit for share in found for unit in share)
    sizes = {len(share) for share in found}
    assert max(sizes) - min(sizes) <= 1


def test_shares_are_the_same_units_in_whatever_order_they_come():
    """And each keeps the order that it was given."""
    there, back = shares(UNITS, 4), shares(UNITS[::-1], 4)
    assert there == [share[::-1] for share in back]


def test_a_share_is_its_json_again():
    shard = Shard(2, 4, tuple(unit.key for unit in UNITS), True)
    assert shard == Shard.from_json(shard.to_json())
    assert "shard 2 of 4" == str(shard)
