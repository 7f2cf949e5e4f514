"""What the modelled allocator does under a limit, and under each of its settings."""

from __future__ import annotations

import pytest
from seen_of_model import actions, inactive, reserved

from oom_suite.allocator import AllocatorOutOfMemoryError
from oom_suite.units import MIB


class TestLimit:
    """What happens when the driver, or the process's own limit, gives no more."""

    def test_a_segment_that_just_fits_is_served(self, allocator):
        """The limit itself is allowed."""
        model = allocator(limit_bytes=32 * MIB)
        model.malloc(30 * MIB)
        model.malloc(MIB)
        assert 32 * MIB == reserved(model)

    def test_the_limit_counts_the_segment_not_the_request(self, allocator):
        """A request of 2 MiB needs 20 MiB; the record says what was asked of the driver."""
        model = allocator(limit_bytes=20 * MIB - 1)
        with pytest.raises(AllocatorOutOfMemoryError) as failed:
            model.malloc(2 * MIB)
        refusal = failed.value.refusal
        assert (2 * MIB, 20 * MIB, 20 * MIB - 1, 20 * MIB - 1) == (
            refusal.requested_bytes,
            refusal.segment_bytes,
            refusal.remaining_bytes,
            refusal.limit_bytes,
        )
        assert str(failed.value).startswith("tried to allocate 20.00 MiB, 20.00 MiB free of ")
        assert (1, 1) == (model.statistics.num_ooms, model.statistics.num_alloc_retries)

    def test_the_cache_is_given_back_before_a_request_fails(self, allocator):
        """The retry after it succeeds, and is counted."""
        model = allocator(free_bytes=64 * MIB)
        model.free(model.malloc(40 * MIB))
        model.malloc(60 * MIB)
        assert [
            ("segment_alloc", 40 * MIB),
            ("segment_free", 40 * MIB),
            ("segment_alloc", 60 * MIB),
        ] == actions(model, "segment_alloc", "segment_free")
        assert (1, 0) == (model.statistics.num_alloc_retries, model.statistics.num_ooms)

    def test_a_segment_partly_in_use_is_kept(self, allocator):
        """It cannot be given back, and the request fails although enough is free in pieces."""
        model = allocator(limit_bytes=40 * MIB)
        model.malloc(20 * MIB)
        freed = model.malloc(6 * MIB)
        model.malloc(4 * MIB)
        model.free(freed)
        with pytest.raises(AllocatorOutOfMemoryError, match=r"24\.00 MiB allocated"):
            model.malloc(12 * MIB)
        assert (40 * MIB, (2, 16 * MIB)) == (reserved(model), inactive(model))

    def test_a_pool_of_its_own_keeps_its_cache(self, allocator):
        """In a MemPool nothing is given back, and there is no retry."""
        model = allocator(limit_bytes=64 * MIB, in_own_pool=True)
        model.free(model.malloc(40 * MIB))
        with pytest.raises(AllocatorOutOfMemoryError):
            model.malloc(60 * MIB)
        assert (0, 1) == (model.statistics.num_alloc_retries, model.statistics.num_ooms)
        model.empty_cache()
        assert 40 * MIB == reserved(model)


class TestMaxSplit:
    """Blocks of `max_split_size` and above are not split, and serve nothing smaller."""

    def test_a_block_just_below_is_split(self, allocator):
        """64 MiB minus one block leaves its remainder."""
        model = allocator("max_split_size_mb:64")
        model.free(model.malloc(62 * MIB))
        model.malloc(30 * MIB)
        assert (1, 32 * MIB) == inactive(model)

    def test_a_smaller_request_gets_no_oversize_block(self, allocator):
        """The cached 64 MiB stay cached, and a new segment is taken."""
        model = allocator("max_split_size_mb:64")
        model.free(model.malloc(64 * MIB))
        model.malloc(62 * MIB)
        assert [64 * MIB, 62 * MIB] == [num for _, num in actions(model, "segment_alloc")]
        assert (0, 1) == (
            model.statistics.oversize_allocations.current,
            model.statistics.oversize_segments.current,
        )

    @pytest.mark.parametrize(
        ("requested", "num_segments"), [(64 * MIB + 512, 1), (64 * MIB, 2)], ids=["below", "exact"]
    )
    def test_an_oversize_block_may_be_less_than_20_mib_too_large(
        self, allocator, requested, num_segments
    ):
        """At exactly 20 MiB more than the request it is refused."""
        model = allocator("max_split_size_mb:64")
        model.free(model.malloc(84 * MIB))
        model.malloc(requested)
        assert num_segments == len(actions(model, "segment_alloc"))

    def test_one_segment_that_is_large_enough_is_released_first(self, allocator):
        """The whole cache is not given back for it."""
        model = allocator("max_split_size_mb:64", limit_bytes=280 * MIB)
        for address in [model.malloc(size * MIB) for size in (30, 64, 150)]:
            model.free(address)
        model.malloc(80 * MIB)
        assert [("segment_free", 150 * MIB)] == actions(model, "segment_free")
        assert 0 == model.statistics.num_alloc_retries

    def test_without_one_the_largest_are_released_until_it_fits(self, allocator):
        """100 and then 90 MiB go for a request of 180; 64 stay."""
        model = allocator("max_split_size_mb:64", limit_bytes=290 * MIB)
        for address in [model.malloc(size * MIB) for size in (64, 90, 100)]:
            model.free(address)
        model.malloc(180 * MIB)
        assert [("segment_free", 100 * MIB), ("segment_free", 90 * MIB)] == actions(
            model, "segment_free"
        )


class TestExpandable:
    """One growing segment for each stream and pool."""

    def test_memory_is_mapped_in_pages_of_2_and_20_mib(self, allocator):
        """The small pool grows by 2 MiB, the large one by 20; neither counts as a segment."""
        model = allocator("expandable_segments:True")
        model.malloc(512)
        model.malloc(21 * MIB)
        assert [("segment_map", 2 * MIB), ("segment_map", 40 * MIB)] == actions(
            model, "segment_map"
        )
        assert (0, 2) == (
            model.statistics.all.segment.current,
            model.statistics.num_device_alloc,
        )

    def test_only_what_is_missing_is_mapped(self, allocator):
        """19 MiB are free at the end of the segment; a request of 30 maps one page more."""
        model = allocator("expandable_segments:True")
        first = model.malloc(21 * MIB)
        assert first + 21 * MIB == model.malloc(30 * MIB)
        assert [40 * MIB, 20 * MIB] == [num for _, num in actions(model, "segment_map")]

    def test_whole_pages_are_unmapped_and_the_rest_stays(self, allocator):
        """Of 59 free MiB behind 21 in use, the last two pages go back."""
        model = allocator("expandable_segments:True")
        model.malloc(21 * MIB)
        model.free(model.malloc(50 * MIB))
        model.empty_cache()
        assert [("segment_unmap", 40 * MIB)] == actions(model, "segment_unmap")
        assert [19 * MIB] == [block.num_bytes for block in model.free_blocks()]
        assert 40 * MIB == reserved(model)

    def test_a_hole_is_filled_before_the_end_grows(self, allocator):
        """New memory goes to the lowest addresses that have room."""
        model = allocator("expandable_segments:True")
        first = model.malloc(40 * MIB)
        model.malloc(20 * MIB)
        model.free(first)
        model.empty_cache()
        assert first == model.malloc(30 * MIB)
        assert (0, 0) == inactive(model)

    def test_a_page_that_the_device_lacks_fails_the_request(self, allocator):
        """Nothing is counted as mapped."""
        model = allocator("expandable_segments:True", free_bytes=39 * MIB)
        with pytest.raises(AllocatorOutOfMemoryError):
            model.malloc(21 * MIB)
        assert (0, 0) == (reserved(model), model.statistics.num_device_alloc)


class TestGarbageCollection:
    """Over the threshold, old cached segments are given back before the driver is asked."""

    def _aged(self, allocator, held_mib):
        """A model with 30 MiB cached long ago, 40 and 50 MiB cached just now, and some in use."""
        model = allocator("garbage_collection_threshold:0.5", limit_bytes=400 * MIB)
        old, new = model.malloc(30 * MIB), model.malloc(40 * MIB)
        model.malloc(held_mib * MIB)
        model.free(old)
        for _ in range(5):
            model.free(model.malloc(50 * MIB))
        model.free(new)
        return model

    def test_the_oldest_goes_and_the_younger_stay(self, allocator):
        """Segments of the average age and above go until enough is free."""
        model = self._aged(allocator, 82)
        model.malloc(100 * MIB)
        assert [("segment_free", 30 * MIB)] == actions(model, "segment_free")

    def test_at_the_threshold_nothing_goes(self, allocator):
        """Exactly half of the limit may be taken without any collection."""
        model = self._aged(allocator, 80)
        assert 200 * MIB == reserved(model)
        model.malloc(100 * MIB)
        assert [] == actions(model, "segment_free")

    def test_without_a_limit_nothing_is_collected(self, allocator):
        """The threshold is a share of the limit."""
        model = allocator("garbage_collection_threshold:0.1")
        model.free(model.malloc(30 * MIB))
        model.malloc(100 * MIB)
        assert [] == actions(model, "segment_free")
