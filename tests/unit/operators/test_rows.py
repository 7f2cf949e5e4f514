"""What it takes on CUDA to find one value of each row."""

from __future__ import annotations

import pytest
import torch
from kernel_steps import BOOL, HALF, MI300X, floats, places, steps

T = floats(9, 10).t()


def mode(source, dim=-1, *, kernels=None):
    shape = [size for place, size in enumerate(source.shape) if place != dim % source.dim()]
    found = (floats(*shape, dtype=source.dtype), places(*shape))
    return steps("mode", source, dim, result=found, **({"kernels": kernels} if kernels else {}))


COUNTED = (
    "~8196:different ~16392:counts ~85503:thrust -thrust +84751:thrust -thrust "
    "-counts -different -places -rows"
)
"""Entries that differ, each with its count; then Thrust's blocks, each with a place of 16 bytes:
132 processors hold 8 blocks of 256 threads, and 5 times as many are launched."""

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
        f"+12:0 +24:1 +24588:rows +16392:places +24833:RadixSort -RadixSort {COUNTED}",
    ),
    "of a long row of halves, which is merged": (
        lambda: mode(floats(2049, dtype=HALF)),
        "+2:0 +8:1 +4098:rows +16392:places +21503:RadixSort -RadixSort "
        + COUNTED.replace("8196", "4098"),
    ),
    "of a row with more entries than its type has values": (
        lambda: mode(floats(70_000, dtype=torch.uint8)),
        "+1:0 +8:1 +70000:rows +560000:places +654079:RadixSort -RadixSort "
        + COUNTED.replace("8196", "256").replace("16392", "2048").replace("85503", "1791"),
    ),
    "of a long row of truth values, which are found": (
        lambda: mode(floats(2049, dtype=BOOL)),
        "+1:0 +8:1 +2049:rows +84751:thrust -thrust -rows",
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


def test_long_rows_of_other_libraries_are_not_known():
    assert mode(floats(513), kernels=MI300X) is None
    assert mode(floats(513, dtype=BOOL), kernels=MI300X) is None
    assert mode(floats(1 << 28)) is None


@pytest.mark.parametrize(
    ("dtype", "num_different", "taken_bytes"),
    [
        (torch.float32, 3000, 157515),
        (torch.int32, 19, 120991),
        (torch.int64, 19, 133071),
        (torch.float16, 1591, 131423),
        (BOOL, 0, 87760),
    ],
)
def test_with_as_many_entries_as_differ_it_is_what_an_h200_took(dtype, num_different, taken_bytes):
    """3,000 entries; the integers were from -9 to 9. All that is not a bound, and their storage.

    Source: docs/evidence/2026-11-27-h200-conformance.json.gz, ``mode`` sample 6.
    """
    width, tile = dtype.itemsize, 256 * 5
    words = mode(floats(3000, dtype=dtype)).split()
    sizes = {word.partition(":")[2]: int(word[1:].partition(":")[0]) for word in words[:4]}
    kept = sum(sizes[name] for name in ("0", "1", "rows") + ("places",) * (dtype is not BOOL))
    kept += num_different * (width + 8) * (dtype is not BOOL)
    assert taken_bytes == kept + (85503 if num_different > tile else 84751)
