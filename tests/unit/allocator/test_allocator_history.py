"""Recorded histories: reading them, following them, and saying where the model parts."""

from __future__ import annotations

import pytest

from oom_suite.allocator import (
    AllocatorOutOfMemoryError,
    Recording,
    Step,
    compare,
    follow,
    parse_settings,
    read_steps,
)
from oom_suite.errors import UsageError
from oom_suite.units import MIB


def test_the_entries_of_a_snapshot_are_read():
    """`device_free` stands for `addr` in an oom; the snapshot's own entry is no step."""
    entries = [
        {"action": "segment_alloc", "addr": 4096, "size": 2 * MIB, "stream": 0, "time_us": 1},
        {"action": "alloc", "addr": 4096, "size": 100, "stream": 0, "frames": []},
        {"action": "oom", "device_free": 77, "size": 512, "stream": 3},
        {"action": "snapshot", "addr": 0, "size": 0, "stream": 0},
    ]
    assert (
        Step("segment_alloc", 4096, 2 * MIB, 0),
        Step("alloc", 4096, 100, 0),
        Step("oom", 77, 512, 3),
    ) == read_steps(entries)


def test_what_is_no_history_is_refused():
    """One line, with the action seen."""
    with pytest.raises(UsageError, match="not an allocator history: action 'workspace'"):
        read_steps([{"action": "workspace", "addr": 0, "size": 0, "stream": 0}])


def test_a_history_without_steps_is_followed():
    """Nothing happened, and nothing differs."""
    assert follow(()).difference is None


def test_a_cache_emptied_before_a_request_is_told_from_the_requests_own_release(allocator):
    """Both look alike in a history: releases, then an allocation."""
    model = allocator()
    model.free(model.malloc(30 * MIB))
    model.empty_cache()
    model.malloc(40 * MIB)
    followed = follow(model.steps)
    assert followed.difference is None
    assert 4 == followed.num_calls


def test_a_cache_emptied_at_the_limit_is_followed(allocator):
    """The emptied cache is what makes room; the request then needs no release of its own."""
    limits = {"limit_bytes": 64 * MIB}
    model = allocator(**limits)
    kept = model.malloc(20 * MIB)
    model.free(model.malloc(30 * MIB))
    model.free(kept)
    model.empty_cache()
    model.malloc(60 * MIB)
    with pytest.raises(AllocatorOutOfMemoryError):
        model.malloc(30 * MIB)
    assert follow(model.steps, **limits).difference is None


@pytest.mark.parametrize("limit", ["limit_bytes", "free_bytes"])
def test_a_request_that_gives_segments_back_by_itself_is_followed(allocator, limit):
    """Whether the process or the device has no more: the release is the request's own."""
    limits = {limit: 64 * MIB}
    model = allocator(**limits)
    model.free(model.malloc(40 * MIB))
    model.malloc(60 * MIB)
    followed = follow(model.steps, **limits)
    assert (None, 3) == (followed.difference, followed.num_calls)


def test_a_segment_of_another_size_is_the_first_difference(allocator):
    """The device took 22 MiB where the model takes 20."""
    model = allocator()
    model.malloc(512)
    model.malloc(20 * MIB)
    steps = list(model.steps)
    steps[2] = Step("segment_alloc", steps[2].address, 22 * MIB, 0)
    difference = follow(steps).difference
    assert 2 == difference.index
    assert "recorded segment_alloc of 23,068,672 B" in str(difference)
    assert "modelled segment_alloc of 20,971,520 B" in str(difference)


def test_a_block_at_another_place_is_the_first_difference(allocator):
    """Same sizes, but the device took the upper block."""
    model = allocator()
    model.malloc(512)
    model.malloc(512)
    steps = list(model.steps)
    steps[-1] = Step("alloc", steps[-1].address + 512, 512, 0)
    assert len(steps) - 1 == follow(steps).difference.index


def test_a_segment_that_the_device_did_not_take_is_the_first_difference(allocator):
    """The model needs one where the device served the request from its cache."""
    model = allocator()
    model.malloc(20 * MIB)
    model.malloc(30 * MIB)
    steps = [step for step in model.steps if step.num_bytes < 30 * MIB or step.action == "alloc"]
    difference = follow(steps).difference
    assert ("alloc", "segment_alloc") == (
        difference.recorded.action,
        difference.modelled.action,
    )


def test_a_free_of_something_older_than_the_history_is_a_difference():
    """The model never saw the block."""
    steps = (Step("free_requested", 512, 512, 0), Step("free_completed", 512, 512, 0))
    difference = follow(steps).difference
    assert (0, None) == (difference.index, difference.modelled)


def test_a_free_that_another_stream_delays_is_a_difference(allocator):
    """`record_stream` is not modelled, and not passed over."""
    model = allocator()
    model.free(model.malloc(512))
    model.malloc(1024)
    steps = list(model.steps)
    completed = next(i for i, step in enumerate(steps) if step.action == "free_completed")
    steps.append(steps.pop(completed))
    assert completed == follow(steps).difference.index


def test_other_settings_than_those_recorded_are_a_difference(recorded):
    """A history of a process with expandable segments is none of the default."""
    _, steps, _ = recorded("expandable")
    difference = follow(steps).difference
    assert ("segment_map", "segment_alloc") == (
        difference.recorded.action,
        difference.modelled.action,
    )


def test_a_recording_reads_back_as_written(recorded):
    """Only what each call changed is kept, and nothing is lost."""
    recording, _, _ = recorded("two-streams")
    assert recording == Recording.from_json(recording.to_json())


def test_a_counter_that_the_model_lacks_is_a_mismatch(recorded):
    """A new counter of a later torch is not passed over."""
    recording, _, _ = recorded("default")
    body = recording.to_json()
    body["counter_names"][0] = "a_counter_of_tomorrow"
    mismatch = compare(Recording.from_json(body)).mismatch
    assert ("a_counter_of_tomorrow", None) == (mismatch.what, mismatch.modelled)


def test_an_oom_repeats_under_a_limit(recorded):
    """Requests that failed on the device fail in the model, and only those."""
    recording, steps, _ = recorded("limit")
    settings = parse_settings(recording.settings_text)
    assert follow(steps, settings, limit_bytes=recording.limit_bytes).difference is None
    unlimited = follow(steps, settings).difference
    assert unlimited is not None
