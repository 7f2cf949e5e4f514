"""Figures that cannot be true are told from those at the boundary that can."""

from __future__ import annotations

import pytest

from oom_suite.targets.meters.plausible import too_small, totals_disagree, why_not

GIB = 1 << 30


@pytest.mark.parametrize("value", [0, 1, GIB])
def test_what_can_be_true_has_no_reason(value):
    """Nothing in use, and all of it in use."""
    assert "" == why_not(value, GIB)


@pytest.mark.parametrize(
    ("value", "total", "expected"),
    [
        (None, GIB, "it says nothing instead of bytes"),
        ("N/A", GIB, "it says 'N/A' instead of bytes"),
        (-1, GIB, "it says -1 instead of bytes"),
        (True, GIB, "it says True instead of bytes"),
        (1.5, GIB, "it says 1.5 instead of bytes"),
        (1, "N/A", "it says 'N/A' instead of the device's total"),
        (0, 0, "it says that the device has 0 B in all"),
        (2 * GIB - 1, GIB, "it says 2.00 GiB of a total of 1.00 GiB"),
        (
            2 * GIB,
            GIB,
            "it says 2.00 GiB of a total of 1.00 GiB: its units are not the documented ones",
        ),
    ],
)
def test_what_cannot_be_true_is_said(value, total, expected):
    """The figure that was seen, and what it was held against."""
    assert expected == why_not(value, total)


@pytest.mark.parametrize(("value", "fits"), [(1000, True), (999, False), (0, False)])
def test_a_figure_covers_what_the_allocator_holds(value, fits):
    """To the 1000 for 1024 that amdsmi takes; a zero never does."""
    assert fits == (too_small(value, 1024) == "")


def test_zero_is_true_where_nothing_is_held():
    """An idle device may say 0."""
    assert "" == too_small(0, 0)


@pytest.mark.parametrize(
    ("total", "other", "agree"),
    [
        (2 * GIB, GIB, True),
        (2 * GIB + 1, GIB, False),
        (GIB, 1024 * GIB, False),
        (GIB, None, True),
    ],
)
def test_totals_a_factor_apart_are_of_different_units(total, other, agree):
    """Half is let pass: what the driver reserves is in one of them only."""
    assert agree == (totals_disagree(total, other) == "")
