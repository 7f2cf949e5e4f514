from __future__ import annotations

import pytest
import torch

from oom_suite.records.safety import Region
from oom_suite.safety.guards import (
    RED_ZONE_BYTES,
    changed_run,
    guarded,
    injure,
)
from oom_suite.workloads.sparse_mla.caches.pools import paged_pool
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4


@pytest.fixture
def buffer():
    return guarded("output", torch.arange(6, dtype=torch.float32).reshape(2, 3))


def test_a_guarded_tensor_is_the_same_tensor_between_two_zones(buffer):
    """Shape, strides and contents are kept, and nothing is reported of an untouched buffer."""
    assert torch.equal(torch.arange(6.0).reshape(2, 3), buffer.tensor)
    assert 2 * RED_ZONE_BYTES + 24 == buffer.memory.numel()
    assert 0 == buffer.tensor.data_ptr() % 64
    assert () == buffer.hits()


@pytest.mark.parametrize(
    ("offset", "what", "distance"),
    [
        (24, "red zone after", 1),
        (24 + RED_ZONE_BYTES - 1, "red zone after", RED_ZONE_BYTES),
        (-1, "red zone before", 1),
        (-RED_ZONE_BYTES, "red zone before", RED_ZONE_BYTES),
    ],
)
def test_the_injector_fires_the_guard(buffer, offset, what, distance):
    """One changed byte, at either end of either zone, is a hit that says where."""
    injure(buffer, offset)
    assert (Region("output", what, None, None, offset, 1, distance),) == buffer.hits()


@pytest.mark.parametrize("offset", [0, 23])
def test_the_tensors_own_bytes_are_no_hit(buffer, offset):
    """The first and the last byte of the tensor itself may change."""
    injure(buffer, offset)
    assert () == buffer.hits()


def test_zones_filled_with_one_byte_or_copied_are_seen(buffer):
    """No fill and no shifted copy leaves the pattern as it was."""
    for change in (lambda zone: zone.fill_(int(zone[0])), lambda zone: zone.copy_(zone.roll(256))):
        buffer.fill_zones()
        change(buffer.bytes_of(buffer.zones[1]))
        assert 1 == len(buffer.hits())


def test_a_padded_pools_last_page_is_its_own():
    """The padding behind the last token of the last page lies before the zone."""
    pool = paged_pool(2, 64, FP8_DS_MLA_V4, "cpu", padded=True).fill_(7)
    buffer = guarded("kv_cache", pool)
    assert 2 * 37440 == buffer.span_bytes
    assert pool.stride() == buffer.tensor.stride()


def test_an_empty_tensor_is_guarded_too():
    """A step without tokens has zones that touch each other."""
    buffer = guarded("q", torch.empty(0, 8, 512))
    injure(buffer, 0)
    assert [("red zone after", 0)] == [(hit.what, hit.first_byte) for hit in buffer.hits()]


@pytest.mark.parametrize(
    ("differs", "expected"),
    [([0, 0, 0], None), ([0, 1, 0], (1, 1)), ([1, 0, 1], (0, 3))],
)
def test_the_run_covers_every_change(differs, expected):
    assert expected == changed_run(torch.tensor(differs, dtype=torch.bool))
