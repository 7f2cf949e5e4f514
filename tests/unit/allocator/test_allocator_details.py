"""Corners of the model that no recorded history has: limits, ages, defaults and odd entries."""

from __future__ import annotations

import pytest

from oom_suite.allocator import (
    AllocatorOutOfMemoryError,
    CachingAllocator,
    Recording,
    Step,
    compare,
    follow,
    fragmentation,
    parse_settings,
    read_steps,
)
from oom_suite.allocator.driver import Driver
from oom_suite.allocator.reclaim import collect_garbage
from oom_suite.allocator.recording import Call
from oom_suite.allocator.state import State
from oom_suite.units import MIB


@pytest.mark.parametrize(
    ("limit_mib", "free_mib", "remaining_mib"), [(60, 40, 20), (40, 60, 20), (40, None, 20)]
)
def test_what_remains_is_the_less_of_the_limit_and_the_device(
    allocator, limit_mib, free_mib, remaining_mib
):
    """20 MiB of it are taken."""
    free_bytes = None if free_mib is None else free_mib * MIB
    model = allocator(limit_bytes=limit_mib * MIB, free_bytes=free_bytes)
    model.malloc(20 * MIB)
    with pytest.raises(AllocatorOutOfMemoryError) as failed:
        model.malloc(100 * MIB)
    assert remaining_mib * MIB == failed.value.refusal.remaining_bytes


@pytest.mark.parametrize(
    ("ages", "freed_mib"),
    [
        ((12, 3, 2), [30, 40]),
        ((12, 3, 3), [30, 40, 50]),
        ((12, 2, 3), [30, 50]),
        ((3, 12, 2), [40, 30]),
        ((5, 5, 5), [30, 40, 50]),
    ],
)
def test_each_round_frees_those_of_the_average_age_of_what_is_left(allocator, ages, freed_mib):
    """Until 60 MiB are had: the second round's average is of those that are left."""
    model = allocator("garbage_collection_threshold:0.5", limit_bytes=120 * MIB)
    addresses = [model.malloc(size * MIB) for size in (30, 40, 50)]
    for address in addresses:
        model.free(address)
    state = model._state
    state.large.num_searches = 20
    for block in state.large:
        block.age_base = 20 - ages[(block.num_bytes // MIB - 30) // 10]
    model.steps.clear()
    collect_garbage(state)
    assert [size * MIB for size in freed_mib] == [
        step.num_bytes for step in model.steps if step.action == "segment_free"
    ]


def test_a_free_older_than_the_history_is_a_difference_whatever_comes_behind_it(allocator):
    """The model does nothing there, and what follows is not compared with it."""
    model = allocator()
    model.malloc(512)
    requested = Step("free_requested", 64, 512, 0)
    completed = Step("free_completed", 64, 512, 0)
    for first in ((completed,), (requested, completed)):
        difference = follow((*first, *model.steps)).difference
        assert (0, first[0], None) == (
            difference.index,
            difference.recorded,
            difference.modelled,
        )


def test_an_entry_without_an_address_has_none():
    (step,) = read_steps([{"action": "oom", "size": 512, "stream": 3}])
    assert Step("oom", 0, 512, 3) == step


def test_a_call_is_at_no_address_of_no_bytes_on_the_first_stream():
    assert Call("empty_cache", 0, 0, 0) == Call("empty_cache")


def test_a_recording_that_parts_at_its_first_call_has_no_counter_compared():
    recording = Recording("", None, False, (Call("alloc", 4096, 512),), ({},), ())
    compared = compare(
        Recording(
            recording.settings_text,
            None,
            False,
            recording.calls,
            recording.counters,
            (Step("segment_alloc", 8192, 2 * MIB, 0),),
        )
    )
    assert (0, 0, "address", 4096, 8192) == (
        compared.num_calls,
        compared.num_counters,
        compared.mismatch.what,
        compared.mismatch.recorded,
        compared.mismatch.modelled,
    )


def test_a_recording_without_counters_for_every_call_is_not_compared():
    """What was cut off would else agree."""
    calls = (Call("empty_cache"), Call("empty_cache"))
    with pytest.raises(ValueError, match="shorter"):
        compare(Recording("", None, False, calls, ({},), ()))


def test_an_allocator_that_did_nothing_has_no_fragmentation():
    found = fragmentation(CachingAllocator())
    assert (0, 0, 0) == (
        found.unused_bytes,
        found.largest_free_block_bytes,
        found.inactive_split_bytes,
    )


def test_a_state_is_in_no_pool_of_its_own_and_tells_nobody():
    state = State(parse_settings(""), Driver(None, None))
    assert not state.in_own_pool
    state.tell("alloc", 1, 2, 3)


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("[256:1,>:4,512:2]", {7: 1, 8: 1, 9: 2, 10: 4}),
        ("[>:4]", {0: 0, 1: 4, 15: 4}),
        ("[4:2,16:8]", {0: 2, 1: 2, 2: 2, 3: 0, 4: 8, 5: 0}),
        ("[64:0,>:8]", {6: 0, 7: 8}),
    ],
)
def test_divisions_of_a_list_are_read_entry_by_entry(text, classes):
    """Those behind "the rest" too, as torch reads them."""
    found = parse_settings(f"roundup_power2_divisions:{text}").roundup_power2_divisions
    assert classes == {number: found[number] for number in classes}


@pytest.mark.parametrize(("more_bytes", "is_filled"), [(0, True), (512, False)])
def test_a_hole_is_filled_by_what_it_has_just_room_for(allocator, more_bytes, is_filled):
    """Of 40 MiB without memory between two blocks in use."""
    model = allocator("expandable_segments:True")
    model.malloc(20 * MIB)
    hole = model.malloc(40 * MIB)
    model.malloc(20 * MIB)
    model.free(hole)
    model.empty_cache()
    assert is_filled == (hole == model.malloc(40 * MIB + more_bytes))
