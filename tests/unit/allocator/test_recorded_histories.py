"""The model against histories of a real allocator; a changed rule changes an outcome."""

from __future__ import annotations

from pathlib import Path

import pytest

from oom_suite.allocator import compare, follow, model, parse_settings, reclaim, rounding
from oom_suite.allocator.pools import BlockPool, release_segment
from oom_suite.errors import UsageError
from oom_suite.units import MIB

NAMES = sorted(
    path.name.removesuffix(".json.gz")
    for path in Path(__file__).with_name("histories").glob("*.json.gz")
)
KNOWN = {
    "default": "",
    "expandable": "expandable_segments:True",
    "expandable-limit": "expandable_segments:True",
    "expandable-two-streams": "expandable_segments:True",
    "garbage-collection": "garbage_collection_threshold:0.6",
    "limit": "",
    "max-split-128-roundup-8": "max_split_size_mb:128,roundup_power2_divisions:8",
    "max-split-64": "max_split_size_mb:64",
    "max-split-64-limit": "max_split_size_mb:64",
    "roundup-4": "roundup_power2_divisions:4",
    "roundup-list": "roundup_power2_divisions:[256:1,512:2,1024:4,>:8]",
    "two-streams": "",
}


def test_every_setting_has_a_history_of_the_same_device(recorded):
    """The recordings are those the tests below are about."""
    assert KNOWN == {name: recorded(name)[2]["settings_text"] for name in NAMES}
    assert {("NVIDIA H200", "2.11.0+cu130", "2026-11-22")} == {
        tuple(recorded(name)[2][key] for key in ("device", "torch", "recorded")) for name in NAMES
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_counter_equals_after_every_call(recorded, name):
    """121 counters, and the place of each block, are what the device had."""
    recording, _, _ = recorded(name)
    compared = compare(recording)
    assert compared.mismatch is None, str(compared.mismatch)
    assert (601, 121) == (compared.num_calls, compared.num_counters)


@pytest.mark.parametrize("name", NAMES)
def test_every_step_of_the_allocators_own_trace_is_followed(recorded, name):
    """Segments are taken and given back when, and as large as, the device did."""
    recording, steps, _ = recorded(name)
    followed = follow(
        steps, parse_settings(recording.settings_text), limit_bytes=recording.limit_bytes
    )
    assert followed.difference is None, str(followed.difference)
    assert len(steps) == followed.num_steps


def split_if(small, large):
    """A `should_split` with other comparisons."""

    def should_split(block, num_bytes, settings):
        remaining_bytes = block.num_bytes - num_bytes
        if block.pool.is_small or settings.expandable_segments:
            return small(remaining_bytes)
        return large(remaining_bytes, num_bytes, settings.max_split_size_bytes or 1 << 62)

    return should_split


def collect_all(state):
    """A garbage collection that does not look at ages."""
    limit_bytes = state.settings.garbage_collection_threshold * state.driver.limit_bytes
    if state.driver.taken_bytes > limit_bytes:
        for block in state.large:
            if not block.is_split:
                release_segment(state, block)


def search_without_bound(original):
    """A best fit that takes an unsplittable block however large."""

    def take_best_fit(self, stream, num_bytes, settings):
        from dataclasses import replace

        return original(
            self, stream, num_bytes, replace(settings, max_non_split_rounding_bytes=1 << 62)
        )

    return take_best_fit


# Each fault: the history that shows it, where it is planted, and the faulty rule.
FAULTS = {
    "a remainder of exactly 1 MiB is split": (
        "default",
        (model, "should_split"),
        split_if(lambda rest: rest >= 512, lambda rest, size, most: rest >= MIB and size < most),
    ),
    "a remainder of exactly 512 bytes stays": (
        "default",
        (model, "should_split"),
        split_if(lambda rest: rest > 512, lambda rest, size, most: rest > MIB and size < most),
    ),
    "a request of exactly max_split_size splits": (
        "max-split-64",
        (model, "should_split"),
        split_if(lambda rest: rest >= 512, lambda rest, size, most: rest > MIB and size <= most),
    ),
    "a request of exactly 1 MiB is large": ("default", (model, "MAX_SMALL_BYTES"), MIB - 1),
    "a request of exactly 10 MiB shares a segment": (
        "default",
        (rounding, "MIN_OWN_SEGMENT_BYTES"),
        10 * MIB + 1,
    ),
    "segments are rounded to 1 MiB": ("default", (rounding, "SEGMENT_STEP_BYTES"), MIB),
    "blocks are rounded to 1 KiB": ("default", (rounding, "MIN_BLOCK_BYTES"), 1024),
    "an unsplittable block serves any request": (
        "max-split-64",
        (BlockPool, "take_best_fit"),
        search_without_bound(BlockPool.take_best_fit),
    ),
    "unsplittable segments are not released first": (
        "max-split-64-limit",
        (reclaim, "release_oversize"),
        lambda *_: False,
    ),
    "garbage is never collected": (
        "garbage-collection",
        (reclaim, "collect_garbage"),
        lambda _: None,
    ),
    "garbage is collected whatever its age": (
        "garbage-collection",
        (reclaim, "collect_garbage"),
        collect_all,
    ),
    "room to grow does not count": (
        "expandable",
        (BlockPool, "_smallest_reach"),
        lambda _, position, block: (position, block),
    ),
    "nothing is released when a request fails": ("limit", (reclaim, "release_all"), lambda _: None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_changed_rule_is_noticed(monkeypatch, recorded, fault):
    """Each rule decides something in a history: with a faulty one the model is caught."""
    name, (where, attribute), faulty = FAULTS[fault]
    recording, _, _ = recorded(name)
    monkeypatch.setattr(where, attribute, faulty)
    try:
        mismatch = compare(recording).mismatch
    except UsageError:
        # A block went elsewhere, and the recorded free finds none.
        return
    assert mismatch is not None
    assert str(mismatch).startswith(f"call {mismatch.index} (")
