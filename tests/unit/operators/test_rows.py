"""What it takes on CUDA to find one value of each row."""

from __future__ import annotations

import pytest
from kernel_steps import BOOL, HALF, MI300X, floats, places, steps

T = floats(9, 10).t()


def mode(source, dim=-1, *, kernels=None):
    shape = [size for place, size in enumerate(source.shape) if place != dim % source.dim()]
    found = (floats(*shape, dtype=source.dtype), places(*shape))
    return steps("mode", source, dim, result=found, **({"kernels": kernels} if kernels else {}))


IN_ORDER = {
    "values of columns are of rows of a copy": (
        lambda: steps("kthvalue", T, 2, 1, result=(floats(10), places(10))),
        "+360:contiguous +40:0 +80:1 -contiguous",
    ),
    "values of rows": (
        lambda: steps("median", floats(10, 9), 1, result=(floats(10), places(10))),
        "+40:0 +80:1",
    ),
    "the commonest of short rows": (lambda: mode(floats(3, 2048)), "+12:0 +24:1"),
    "of columns, which are copied to rows": (
        lambda: mode(floats(5, 4), 0),
        "+16:0 +32:1 +80:rows -rows",
    ),
    "of rows of one entry": (lambda: mode(floats(1, 4), 0), "+16:0 +32:1"),
    "of nothing": (lambda: mode(floats(0, 4), 1), "+0:0 +0:1"),
    "of a long row, which is sorted with its places": (
        lambda: mode(floats(3, 2049)),
        "+12:0 +24:1 +24588:rows +16392:places +1:RadixSort -RadixSort -places -rows",
    ),
    "of a long row of halves, which is merged": (
        lambda: mode(floats(2049, dtype=HALF)),
        "+2:0 +8:1 +4098:rows +16392:places +21503:RadixSort -RadixSort -places -rows",
    ),
    "AMD's blocks have fewer threads": (
        lambda: mode(floats(3, 512), kernels=MI300X),
        "+12:0 +24:1",
    ),
}


@pytest.mark.parametrize(("taken", "expected"), IN_ORDER.values(), ids=IN_ORDER)
def test_values_of_rows_take_what_the_source_says_in_its_order(taken, expected):
    """Rows are searched in place."""
    assert expected == taken()


def test_a_median_of_all_is_a_composition():
    assert steps("median", floats(4), result=floats()) is None


def test_long_rows_of_other_libraries_and_of_truth_values_are_not_known():
    assert mode(floats(513), kernels=MI300X) is None
    assert mode(floats(2049, dtype=BOOL)) is None
