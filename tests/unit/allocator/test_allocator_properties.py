"""What holds of the allocator whatever is asked of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oom_suite.allocator import AllocatorOutOfMemoryError, CachingAllocator, parse_settings
from oom_suite.units import MIB

TEXTS = (
    "",
    "max_split_size_mb:20",
    "roundup_power2_divisions:4",
    "expandable_segments:True",
    "garbage_collection_threshold:0.5",
)
BOUNDARIES = (512, MIB, 2 * MIB, 10 * MIB, 19 * MIB, 20 * MIB, 40 * MIB)
SIZES = st.one_of(
    st.integers(1, 64 * MIB),
    st.integers(1, 4096),
    st.builds(lambda at, by: at + by, st.sampled_from(BOUNDARIES), st.integers(-1, 1)),
)
# A request of so many bytes on one of two streams, or a free of the n-th live block.
CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("malloc"), SIZES, st.integers(0, 1)),
        st.tuples(st.just("free"), st.integers(0, 1000), st.just(0)),
        st.tuples(st.just("empty_cache"), st.just(0), st.just(0)),
    ),
    max_size=60,
)
LIMITS = st.sampled_from((None, 50 * MIB, 120 * MIB))


def run(model, calls, after=lambda: None):
    """Make the calls; the live blocks, `(address, bytes, stream)`."""
    live = []
    for kind, number, stream in calls:
        if kind == "malloc":
            try:
                live.append((model.malloc(number, stream), number, stream))
            except AllocatorOutOfMemoryError:
                continue
        elif kind == "empty_cache":
            model.empty_cache()
        elif live:
            model.free(live.pop(number % len(live))[0])
        after()
    return live


@pytest.mark.parametrize("text", TEXTS)
@given(calls=CALLS, limit_bytes=LIMITS)
@example(calls=[("malloc", 40 * MIB + 1, 0)], limit_bytes=50 * MIB)
@settings(max_examples=60, deadline=None)
def test_reserved_holds_allocated_holds_requested(text, calls, limit_bytes):
    """At every moment and at the peaks, in each pool, and never over the limit.

    Expandable segments pass it by less than a page: the limit is asked for what a plain segment
    would take, and memory is mapped in whole pages.
    """
    model = CachingAllocator(parse_settings(text), limit_bytes=limit_bytes)
    page_bytes = model.settings.large_segment_bytes if "expandable" in text else 1

    def check():
        stats = model.statistics
        for pool in (stats.all, stats.small, stats.large):
            for figure in ("current", "peak"):
                chain = [
                    getattr(stat, figure)
                    for stat in (
                        pool.reserved_bytes,
                        pool.active_bytes,
                        pool.allocated_bytes,
                        pool.requested_bytes,
                    )
                ]
                assert sorted(chain, reverse=True) == chain
            assert 0 <= pool.inactive_split_bytes.current <= pool.reserved_bytes.current
        cached = sum(block.num_bytes for block in model.free_blocks())
        assert stats.all.reserved_bytes.current == stats.all.allocated_bytes.current + cached
        if limit_bytes is not None:
            assert stats.all.reserved_bytes.peak < limit_bytes + page_bytes

    run(model, calls, check)


@pytest.mark.parametrize("text", TEXTS)
@given(calls=CALLS, limit_bytes=LIMITS)
@settings(max_examples=60, deadline=None)
def test_freeing_everything_and_emptying_the_cache_leaves_nothing(text, calls, limit_bytes):
    """Every block merges with its neighbours, so every segment goes back."""
    model = CachingAllocator(parse_settings(text), limit_bytes=limit_bytes)
    for address, _, _ in run(model, calls):
        model.free(address)
    model.empty_cache()
    assert [] == list(model.free_blocks())
    assert {0} == {stat.current for _, stat in model.statistics.stats()}


@pytest.mark.parametrize("text", TEXTS)
@given(calls=CALLS)
@settings(max_examples=60, deadline=None)
def test_blocks_in_use_do_not_overlap(text, calls):
    """Each request has its bytes for itself."""
    model = CachingAllocator(parse_settings(text))
    live = sorted(run(model, calls))
    for (first, num_bytes, _), (second, _, _) in pairwise(live):
        assert first + num_bytes <= second


@pytest.mark.parametrize("text", TEXTS)
@given(calls=CALLS)
@settings(max_examples=30, deadline=None)
def test_the_same_calls_give_the_same_counters(text, calls):
    """Nothing depends on anything but the calls."""
    models = [CachingAllocator(parse_settings(text)) for _ in range(2)]
    for model in models:
        run(model, calls)
    first, second = (model.statistics.to_memory_stats() for model in models)
    assert first == second
