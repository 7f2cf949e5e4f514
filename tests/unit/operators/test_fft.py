"""What Fourier transforms take on CUDA: copies, results on the way, and cuFFT's area at most."""

from __future__ import annotations

import pytest
import torch
from kernel_steps import HALF, MI300X, floats, steps

COMPLEX, COMPLEX_HALF = torch.complex64, torch.complex32


def numbers(*sizes):
    return floats(*sizes, dtype=COMPLEX)


IN_ORDER = {
    "rows are transformed where they are": (
        lambda: steps("_fft_r2c", floats(5, 6, 7), [2], 0, True, result=numbers(5, 6, 4)),
        "+960:0 ~1680:area -area",
    ),
    "columns of several matrices are brought together": (
        lambda: steps("_fft_r2c", floats(5, 10, 7), [1], 0, True, result=numbers(5, 6, 7)),
        "+1680:0 +1400:in_rows ~2800:area -area -in_rows",
    ),
    "columns of one matrix have one stride": (
        lambda: steps("_fft_r2c", floats(1, 10, 7), [1], 0, True, result=numbers(1, 6, 7)),
        "+336:0 ~560:area -area",
    ),
    "halves that are not side by side are copied": (
        lambda: steps(
            "_fft_r2c",
            floats(8, 4, dtype=HALF),
            [0],
            0,
            True,
            result=floats(5, 4, dtype=COMPLEX_HALF),
        ),
        "+80:0 +64:clone ~128:area -area -clone",
    ),
    "floats that are not side by side are not": (
        lambda: steps("_fft_r2c", floats(8, 4), [0], 0, True, result=numbers(5, 4)),
        "+160:0 ~256:area -area",
    ),
    "a stride that is no multiple of the next one's is copied": (
        lambda: steps("_fft_c2c", numbers(4, 3).t(), [0, 1], 0, True, result=numbers(3, 4)),
        "+96:0 ~96:area -area",
    ),
    "entries that are one in memory are copied": (
        lambda: steps(
            "_fft_c2c", numbers(1, 4).expand(3, 4), [1], 0, True, result=numbers(3, 4)
        ),
        "+96:0 +96:clone ~96:area -area -clone",
    ),
    "so are several that are one number": (
        lambda: steps(
            "_fft_c2c", numbers(1, 1).expand(3, 1), [1], 0, True, result=numbers(3, 1)
        ),
        "+24:0 +24:clone ~24:area -area -clone",
    ),
    "real numbers are read in pairs": (
        lambda: steps("_fft_r2c", floats(9)[1:], [0], 0, True, result=numbers(5)),
        "+40:0 +32:aligned ~64:area -area -aligned",
    ),
    "a pair later they are": (
        lambda: steps("_fft_r2c", floats(10)[2:], [0], 0, True, result=numbers(5)),
        "+40:0 ~64:area -area",
    ),
    "three dimensions from the first on are transformed one, then two": (
        lambda: steps("_fft_r2c", floats(5, 6, 7), [0, 1, 2], 0, True, result=numbers(5, 6, 4)),
        "+960:other ~1680:area -area +960:0 ~960:area -area -other",
    ),
    "in full the first buffer is the result": (
        lambda: steps("_fft_r2c", floats(5, 6, 7), [0, 1, 2], 0, False, result=numbers(5, 6, 7)),
        "+1680:0 ~1680:area -area +1680:other ~960:area -area -other",
    ),
    "two others are transformed at once": (
        lambda: steps("_fft_r2c", floats(5, 6, 7), [1, 2], 0, True, result=numbers(5, 6, 4)),
        "+960:0 ~1680:area -area",
    ),
    "what becomes real is always copied": (
        lambda: steps("_fft_c2r", numbers(5, 6, 7), [2], 0, 12, result=floats(5, 6, 12)),
        "+1440:0 +1680:clone_of_all ~2880:area -area -clone_of_all",
    ),
    "and its columns once more": (
        lambda: steps("_fft_c2r", numbers(5, 6, 7), [1], 0, 10, result=floats(5, 10, 7)),
        "+1400:0 +1680:clone_of_all +1680:in_rows ~2800:area -area -in_rows -clone_of_all",
    ),
    "what was transformed on the way is no copy of the input": (
        lambda: steps("_fft_c2r", numbers(5, 6, 7), [0, 1, 2], 0, 12, result=floats(5, 6, 12)),
        "+1440:0 +1680:clone_of_all ~1680:area -area ~2880:area -area -clone_of_all",
    ),
    "four dimensions are transformed in two steps": (
        lambda: steps("_fft_c2c", numbers(2, 2, 2, 2), [0, 1, 2, 3], 0, True,
                      result=numbers(2, 2, 2, 2)),
        "+128:first ~128:area -area +128:0 ~128:area -area -first",
    ),
    "three in one": (
        lambda: steps("_fft_c2c", numbers(2, 2, 2), [0, 1, 2], 0, True, result=numbers(2, 2, 2)),
        "+64:0 ~64:area -area",
    ),
    "no dimension is a copy": (
        lambda: steps("_fft_c2c", numbers(2, 2), [], 0, True, result=numbers(2, 2)),
        "+32:0",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("taken", "expected"), IN_ORDER.values(), ids=IN_ORDER)
def test_transforms_take_what_the_source_says_in_its_order(taken, expected):
    """The work area is a bound: as much as is transformed, as complex numbers."""
    assert expected == taken().replace("work_area", "area")


@pytest.mark.parametrize(
    ("size", "times"),
    [(2 * 3 * 5 * 7, 1), (7**3, 1), (1, 1), (11, 8), (2 * 11, 8), (121, 8), (127, 8)],
)
def test_sizes_without_kernels_for_their_factors_may_take_eight_times_as_much(size, times):
    found = steps("_fft_c2c", numbers(3, size), [1], 0, True, result=numbers(3, size))
    assert f"+{24 * size}:0 ~{times * 24 * size}:work_area -work_area" == found


NOT_KNOWN = {
    "on ROCm": lambda: steps(
        "_fft_r2c", floats(8), [0], 0, True, result=numbers(5), kernels=MI300X
    ),
    "bfloat16": lambda: steps(
        "_fft_r2c", floats(8, dtype=torch.bfloat16), [0], 0, True, result=numbers(5)
    ),
    "more than six dimensions": lambda: steps(
        "_fft_c2c", numbers(*[1] * 7), list(range(7)), 0, True, result=numbers(*[1] * 7)
    ),
    "more than four real ones": lambda: steps(
        "_fft_r2c", floats(*[2] * 5), list(range(5)), 0, True, result=numbers(2, 2, 2, 2, 2)
    ),
    "more than six that become real": lambda: steps(
        "_fft_c2r", numbers(*[1] * 7), list(range(7)), 0, 1, result=floats(*[1] * 7)
    ),
}


@pytest.mark.parametrize("taken", NOT_KNOWN.values(), ids=NOT_KNOWN)
def test_other_transforms_are_not_known(taken):
    """They are named."""
    assert taken() is None
