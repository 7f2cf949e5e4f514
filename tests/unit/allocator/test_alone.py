"""What a request takes from a segment that was taken for it."""

from __future__ import annotations

import pytest

from oom_suite.allocator import CachingAllocator, taken_alone
from oom_suite.units import MIB


@pytest.mark.parametrize(
    "requested_bytes",
    [1, 512, 513, MIB, MIB + 1, 10 * MIB - 512, 10 * MIB, 11 * MIB - 512, 11 * MIB, 20 * MIB + 1],
)
def test_it_is_what_the_modelled_allocator_counts(requested_bytes):
    """At each side of the rest that is kept: up to 1 MiB."""
    allocator = CachingAllocator()
    allocator.malloc(requested_bytes)
    assert taken_alone(requested_bytes) == allocator.statistics.all.allocated_bytes.current
