"""Copies that CUDA's operators make of an input before they begin."""

from __future__ import annotations

import pytest
import torch
from kernel_steps import BOOL, HALF, INT32, floats, places, steps

COMPLEX = torch.complex64

IN_ORDER = {
    "a truth value to a power is a whole number first": (
        lambda: steps("pow", floats(20, dtype=BOOL), 2, result=places(20)),
        "+160:in_the_common_type +160:0 -in_the_common_type",
    ),
    "a power of the same type is not copied": (
        lambda: steps("pow", floats(20), 2, result=floats(20)),
        "+80:0",
    ),
    "a power of a tensor is promoted inside of the kernel": (
        lambda: steps("pow", floats(20, dtype=INT32), floats(20), result=floats(20)),
        "+80:0",
    ),
    "a whole number within fractions": (
        lambda: steps("clamp", floats(8, dtype=INT32), 0.5, 1.5, result=floats(8)),
        "+32:in_the_common_type +32:0 -in_the_common_type",
    ),
    "within whole numbers": (
        lambda: steps("clamp_min", floats(8, dtype=INT32), 1, result=floats(8, dtype=INT32)),
        "+32:0",
    ),
    "what is complex has its size as a complex number first": (
        lambda: steps("abs", floats(6, dtype=COMPLEX), result=floats(6)),
        "+24:0 +48:as_complex_numbers -as_complex_numbers",
    ),
    "what is real has not": (lambda: steps("abs", floats(6), result=floats(6)), "+24:0"),
    "what is unpooled is in order": (
        lambda: steps(
            "max_unpool2d",
            floats(1, 3, 1, 2, dtype=HALF).transpose(1, 3),
            places(1, 3, 1, 2).transpose(1, 3),
            [2, 2],
            result=floats(1, 2, 2, 2, dtype=HALF),
        ),
        "+16:0 +12:values +48:indices -indices -values",
    ),
    "what is in order is not copied": (
        lambda: steps(
            "max_unpool2d", floats(1, 2, 1, 3), places(1, 2, 1, 3), [2, 2], result=floats(1, 2, 2)
        ),
        "+16:0",
    ),
}


@pytest.mark.parametrize(("taken", "expected"), IN_ORDER.values(), ids=IN_ORDER)
def test_copies_are_those_of_the_source_in_its_order(taken, expected):
    """In the kernel nothing is copied; before it, all is."""
    assert expected == taken()


def test_in_place_is_no_copy():
    x = floats(4)
    assert steps("pow_", x, 2, result=x) == ""
