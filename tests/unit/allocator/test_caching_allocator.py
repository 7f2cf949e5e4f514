"""What the modelled allocator does with blocks, segments, streams and its cache."""

from __future__ import annotations

import pytest
from seen_of_model import actions, inactive

from oom_suite.allocator import fragmentation
from oom_suite.errors import UsageError
from oom_suite.units import MIB


def test_small_requests_share_a_segment_of_2_mib(allocator):
    """The second block begins where the first ends."""
    model = allocator()
    first = model.malloc(1)
    assert first + 512 == model.malloc(MIB)
    assert [("segment_alloc", 2 * MIB)] == actions(model, "segment_alloc")
    assert (1, 2 * MIB - MIB - 512) == inactive(model)


def test_a_request_of_1_mib_is_small_and_one_byte_more_is_large(allocator):
    """1 MiB is the last size of the small pool."""
    model = allocator()
    model.malloc(MIB)
    model.malloc(MIB + 1)
    assert (2 * MIB, 20 * MIB) == (
        model.statistics.small.reserved_bytes.current,
        model.statistics.large.reserved_bytes.current,
    )


@pytest.mark.parametrize("requested", [19 * MIB - 1, 19 * MIB, 20 * MIB])
def test_a_remainder_of_1_mib_or_less_stays_with_a_large_block(allocator, requested):
    """The segment has 20 MiB, and the block takes all of it."""
    model = allocator()
    model.malloc(requested)
    assert 20 * MIB == model.statistics.all.allocated_bytes.current
    assert (0, 0) == inactive(model)


def test_just_over_1_mib_remainder_is_split_off(allocator):
    """512 bytes more than 1 MiB go back to the pool."""
    model = allocator()
    model.malloc(19 * MIB - 512)
    assert 19 * MIB - 512 == model.statistics.all.allocated_bytes.current
    assert (1, MIB + 512) == inactive(model)


def test_a_small_remainder_of_512_bytes_is_split_off(allocator):
    """The small pool splits down to its smallest block."""
    model = allocator()
    filler = [model.malloc(MIB), model.malloc(MIB - 512)]
    assert (1, 512) == inactive(model)
    assert filler[1] + MIB - 512 == model.malloc(512)
    assert (0, 0) == inactive(model)


def test_the_smallest_block_that_fits_is_taken(allocator):
    """Best fit, not first fit."""
    model = allocator()
    large, small = model.malloc(40 * MIB), model.malloc(30 * MIB)
    model.free(large)
    model.free(small)
    assert small == model.malloc(29 * MIB)


@pytest.mark.parametrize("places", [(1 << 30, 2 << 30), (2 << 30, 1 << 30)])
def test_of_two_blocks_of_one_size_the_lower_address_is_taken(allocator, places):
    """Whatever the order in which they came."""
    upcoming = iter(places)
    model = allocator(place=lambda _: next(upcoming))
    for address in [model.malloc(30 * MIB), model.malloc(30 * MIB)]:
        model.free(address)
    assert min(places) == model.malloc(30 * MIB)


def test_neighbours_that_are_free_become_one_block(allocator):
    """Freed in any order, the segment is whole again."""
    model = allocator()
    addresses = [model.malloc(5 * MIB) for _ in range(4)]
    assert [("segment_alloc", 20 * MIB)] == actions(model, "segment_alloc")
    for address in (addresses[1], addresses[3], addresses[0], addresses[2]):
        model.free(address)
    assert [20 * MIB] == [block.num_bytes for block in model.free_blocks()]
    assert (0, 0) == inactive(model)


def test_a_freed_block_serves_its_own_stream_only(allocator):
    """Another stream gets a segment of its own."""
    model = allocator()
    address = model.malloc(30 * MIB, stream=7)
    model.free(address)
    assert address != model.malloc(30 * MIB, stream=8)
    assert address == model.malloc(30 * MIB, stream=7)


def test_nothing_is_asked_for_no_bytes(allocator):
    """Address 0, and freeing it, change no counter."""
    model = allocator()
    assert 0 == model.malloc(0)
    model.free(0)
    assert {0} == set(model.statistics.to_memory_stats().values())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.malloc(-1), "cannot allocate -1 bytes: ask for 0 or more"),
        (lambda model: model.free(0x200), "cannot free 0x200: no block in use begins there"),
    ],
    ids=["negative", "unknown"],
)
def test_a_call_that_makes_no_sense_says_one_line(allocator, call, message):
    """Not a KeyError."""
    with pytest.raises(UsageError) as refused:
        call(allocator())
    assert message == str(refused.value)


def test_a_block_is_freed_once(allocator):
    """The second free finds nothing in use."""
    model = allocator()
    address = model.malloc(512)
    model.free(address)
    with pytest.raises(UsageError, match="no block in use"):
        model.free(address)


def test_fragmentation_tells_what_is_held_in_vain(allocator):
    """Reserved minus allocated, the largest free block, and what no release can give back."""
    model = allocator()
    model.malloc(5 * MIB)
    model.free(model.malloc(30 * MIB))
    found = fragmentation(model)
    assert (45 * MIB, 30 * MIB, 15 * MIB) == (
        found.unused_bytes,
        found.largest_free_block_bytes,
        found.inactive_split_bytes,
    )


def test_peaks_and_totals_are_reset_apart(allocator):
    """A peak falls to what is current; what was ever counted starts at zero."""
    model = allocator()
    model.free(model.malloc(30 * MIB))
    model.statistics.reset_peaks()
    assert (0, 0, 30 * MIB) == (
        model.statistics.all.allocated_bytes.current,
        model.statistics.all.allocated_bytes.peak,
        model.statistics.all.allocated_bytes.allocated,
    )
    model.statistics.reset_accumulated()
    assert (0, 0) == (
        model.statistics.all.allocated_bytes.allocated,
        model.statistics.num_device_alloc,
    )
