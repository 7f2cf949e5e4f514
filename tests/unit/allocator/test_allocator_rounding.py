"""Sizes at the boundaries of each rule: blocks, segments, roundup divisions."""

from __future__ import annotations

import pytest

from oom_suite.allocator import parse_settings, round_request
from oom_suite.allocator.rounding import block_bytes, segment_bytes
from oom_suite.units import GIB, MIB

DEFAULT = parse_settings("")


@pytest.mark.parametrize(
    ("requested", "block"),
    [(1, 512), (511, 512), (512, 512), (513, 1024), (MIB, MIB), (MIB + 1, MIB + 512)],
)
def test_requests_are_rounded_to_512_bytes(requested, block):
    """The smallest multiple of 512 that holds the request."""
    assert block == block_bytes(requested, DEFAULT)
    assert block == round_request(requested)


@pytest.mark.parametrize(
    ("block", "segment"),
    [
        (512, 2 * MIB),
        (MIB, 2 * MIB),
        (MIB + 512, 20 * MIB),
        (10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB),
        (10 * MIB + 512, 12 * MIB),
        (20 * MIB, 20 * MIB),
        (20 * MIB + 512, 22 * MIB),
    ],
)
def test_segments_change_size_at_1_and_10_mib(block, segment):
    """2 MiB for small blocks, 20 MiB for middle ones, the next 2 MiB for large ones."""
    assert segment == segment_bytes(block, DEFAULT)


def test_middle_sized_requests_share_the_segment_that_is_configured():
    """`large_segment_size_mb` replaces the 20 MiB, and nothing else."""
    settings = parse_settings("large_segment_size_mb:32,max_split_size_mb:32")
    assert [2 * MIB, 32 * MIB, 10 * MIB] == [
        segment_bytes(size, settings) for size in (MIB, MIB + 512, 10 * MIB)
    ]


@pytest.mark.parametrize(
    ("requested", "block"),
    [
        # Up to 512 bytes a division there is nothing to divide.
        (2048, 2048),
        (2049, 2560),
        (4096, 4096),
        (4097, 5120),
        (1200, 1536),
        (1500, 1536),
        (5 * MIB, 5 * MIB),
        (5 * MIB + 1, 6 * MIB),
        (7 * MIB + 1, 8 * MIB),
        (8 * MIB, 8 * MIB),
    ],
)
def test_roundup_divides_the_space_between_powers_of_two(requested, block):
    """With 4 divisions a request takes the next quarter of its power of two."""
    assert block == block_bytes(requested, parse_settings("roundup_power2_divisions:4"))


def test_roundup_follows_the_size_class_of_the_request():
    """Each class has its own divisions; 1 rounds to 512 bytes as without roundup."""
    settings = parse_settings("roundup_power2_divisions:[256:1,512:2,1024:4,>:8]")
    sizes = (300 * MIB + 1, 513 * MIB, GIB + 1, 2 * GIB + 1)
    assert [300 * MIB + 512, 768 * MIB, GIB + 256 * MIB, 2 * GIB + 256 * MIB] == [
        block_bytes(size, settings) for size in sizes
    ]


def test_rounding_a_rounded_size_changes_nothing():
    """What an `oom` step names, the block, asks for the same block again."""
    settings = parse_settings("roundup_power2_divisions:8")
    for requested in (1, 5000, 3 * MIB + 7, 77 * MIB - 1):
        block = block_bytes(requested, settings)
        assert block == block_bytes(block, settings)
