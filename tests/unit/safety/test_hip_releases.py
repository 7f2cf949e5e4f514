"""What a ROCm release can do, by its version."""

from __future__ import annotations

import pytest

from oom_suite.safety.hip_releases import has_expandable_segments, reports_capture_errors


@pytest.mark.parametrize(
    ("hip", "expandable", "told"),
    [
        (None, True, True),
        ("6.4.43482", False, False),
        ("7.0.0", True, False),
        ("7.1.25424-4179531dcd", True, False),
        ("7.13.0", True, False),
        ("7.14.1", True, True),
        ("10.1.0", True, True),
        ("unknown", True, True),
    ],
)
def test_a_release_is_known_by_its_number(hip, expandable, told):
    """CUDA, and what nobody can read, is taken for the newest."""
    assert (expandable, told) == (has_expandable_segments(hip), reports_capture_errors(hip))
