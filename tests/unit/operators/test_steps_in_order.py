"""What CUDA's kernels request and free, in the order of their source."""

from __future__ import annotations

import pytest
import torch
from kernel_steps import BOOL, DOUBLE, HALF, INT32, MANY, floats, places, shared, steps

T = floats(9, 10).t()

IN_ORDER = {
    "what is counted is compared and widened": (
        lambda: steps("count_nonzero", floats(3, 5), result=places()),
        "+15:not_zero +8:0 +120:copy -copy -not_zero",
    ),
    "truth values are widened alone": (
        lambda: steps("count_nonzero", floats(3, 5, dtype=BOOL), result=places()),
        "+8:0 +120:copy -copy",
    ),
    "few rows are sorted twice: by value, then by row": (
        lambda: steps("sort", floats(2, 5000), -1, result=(floats(2, 5000), places(2, 5000))),
        (
            "+40000:0 +80000:1 +80000:pairs +80000:sorted_pairs +40000:sorted_keys "
            "+131071:RadixSort -RadixSort -sorted_keys +4607:RadixSort -RadixSort "
            "-sorted_pairs -pairs"
        ),
    ),
    "many rows are sorted in segments": (
        lambda: steps("sort", floats(200, 5000), -1, result=(floats(200, 5000), places(200, 5000))),
        (
            "+4000000:0 +8000000:1 +8000000:places +12000255:SegmentedRadixSort "
            "-SegmentedRadixSort -places"
        ),
    ),
    "one row is sorted with its places": (
        lambda: steps("sort", floats(8000), -1, result=(floats(8000), places(8000))),
        "+32000:0 +64000:1 +64000:places +106751:RadixSort -RadixSort -places",
    ),
    "rows that are not side by side are copied, and what they are sorted into": (
        lambda: steps("sort", floats(5000, 2), 0, result=(floats(5000, 2), places(5000, 2))),
        (
            "+40000:0 +80000:1 +40000:rows +40000:values +80000:indices +80000:pairs "
            "+80000:sorted_pairs +40000:sorted_keys +131071:RadixSort -RadixSort -sorted_keys "
            "+4607:RadixSort -RadixSort -sorted_pairs -pairs -indices -values -rows"
        ),
    ),
    "a stable sort has its dimension third": (
        lambda: steps("sort", floats(16, 32), True, 0, result=(floats(16, 32), places(16, 32))),
        "+2048:0 +4096:1 +128:arange -arange",
    ),
    "nothing is sorted with nothing": (
        lambda: steps("sort", floats(), -1, result=(floats(), places())),
        "+4:0 +8:1",
    ),
    "rows for several blocks are searched digit by digit": (
        lambda: steps("topk", floats(20, 20_000), 3, result=(floats(20, 3), places(20, 3))),
        (
            "+240:0 +480:1 +80:kth_values +160:ks +160:desired +204800:counts "
            "+20480:counts_of_slices +1600:within_k +1600:kth +1279:Scan -Scan -kth -within_k "
            "-counts_of_slices -counts -desired -ks -kth_values"
        ),
    ),
    "one draw is the place of a largest quotient": (
        lambda: steps("multinomial", floats(4, MANY), 1, result=places(4, 1)),
        (
            "+32:0 +1:is_valid +1:is_zero +16777216:quotients "
            f"{shared(8192, 16)} -quotients -is_zero -is_valid"
        ),
    ),
    "a soft margin's gradient comes after the exponential": (
        lambda: steps(
            "soft_margin_loss_backward", floats(), floats(5), floats(5), 1, result=floats(5)
        ),
        ("+20:negated +20:product +20:exponential -product -negated +20:0 -exponential"),
    ),
    "a running sum in half precision has three lists for its tiles": (
        lambda: steps("cumsum", floats(4, dtype=HALF), 0, result=floats(4, dtype=HALF)),
        "+8:0 +1279:Scan -Scan",
    ),
    "top of a transposed tensor copies it": (
        lambda: steps("topk", T, 3, result=(floats(10, 3), places(10, 3))),
        "+120:0 +240:1 +360:contiguous -contiguous",
    ),
    "a long top is sorted by a sort of its own": (
        lambda: steps("topk", floats(8192), 4097, result=(floats(4097), places(4097))),
        (
            "+16388:0 +32776:1 +32776:sorted_indices +16388:sorted_values +32776:places "
            "+59391:RadixSort -RadixSort -places +32776:gathered -gathered -sorted_values "
            "-sorted_indices"
        ),
    ),
    "a long top that needs no order is not": (
        lambda: steps(
            "topk", floats(8192), 4097, -1, True, False, result=(floats(4097), places(4097))
        ),
        "+16388:0 +32776:1",
    ),
    "the top of nothing, and no top": (
        lambda: steps("topk", floats(4), 0, result=(floats(0), places(0))),
        "+0:0 +0:1",
    ),
    "what is drawn once is divided": (
        lambda: steps("multinomial", floats(2, 12), 3, result=places(2, 3)),
        "+48:0 +1:is_valid +1:is_zero +96:quotients +24:drawn -drawn -quotients -is_zero -is_valid",
    ),
    "one draw needs no values of its own": (
        lambda: steps("multinomial", floats(2, 12), 1, result=places(2, 1)),
        "+16:0 +1:is_valid +1:is_zero +96:quotients -quotients -is_zero -is_valid",
    ),
    "what may be drawn again is summed up": (
        lambda: steps("multinomial", floats(2, 12), 3, True, result=places(2, 3)),
        "+48:0 +96:weights +96:shares +96:sums -sums -shares -weights",
    ),
    "one such draw has a number for each row": (
        lambda: steps("multinomial", floats(2, 12), 1, True, result=places(2, 1)),
        "+16:0 +8:multinomial -multinomial",
    ),
    "a loss is that of the wider of both": (
        lambda: steps("mse_loss", floats(5), floats(3, 5, dtype=DOUBLE), 1, result=floats()),
        "+120:0 +120:losses -losses",
    ),
    "a loss that is no structured kernel's makes its result behind": (
        lambda: steps("huber_loss", floats(5), floats(5), result=floats()),
        "+20:losses +4:0 -losses",
    ),
    "a kept loss has a number beside it": (
        lambda: steps("soft_margin_loss", floats(MANY), floats(MANY), result=floats()),
        f"+{4 * MANY}:0 +4:reduced {shared(512)} -reduced",
    ),
    "a kept loss that is not reduced is its result": (
        lambda: steps("binary_cross_entropy", floats(5), floats(5), None, 0, result=floats(5)),
        "+20:0",
    ),
    "a softmax's copy goes behind its result": (
        lambda: steps("_softmax", T, -1, False, result=floats(10, 9)),
        "+360:contiguous +360:0 -contiguous",
    ),
    "a roll of a copy along two dimensions": (
        lambda: steps("roll", T, [4, 5], [0, 1], result=floats(10, 9)),
        "+360:contiguous +360:rolled -contiguous +360:0 -rolled",
    ),
    "a roll of a copy along one": (
        lambda: steps("roll", T, [4], [0], result=floats(10, 9)),
        "+360:contiguous +360:0 -contiguous",
    ),
    "a roll along two": (
        lambda: steps("roll", floats(9, 10), [4, 5], [0, 1], result=floats(9, 10)),
        "+360:rolled +360:0 -rolled",
    ),
    "a flat roll": (lambda: steps("roll", floats(9, 10), [4], result=floats(9, 10)), "+360:0"),
    "values are copied once their places are known": (
        lambda: steps(
            "masked_scatter", floats(5, 5), floats(5, dtype=BOOL), T, result=floats(5, 5)
        ),
        (
            "+100:0 +200:places +25:mask +1279:Scan -Scan +360:masked_scatter -masked_scatter "
            "-mask -places"
        ),
    ),
    "nothing is scattered with nothing": (
        lambda: steps(
            "masked_scatter", floats(0), floats(0, dtype=BOOL), floats(0), result=floats(0)
        ),
        "+0:0",
    ),
    "true entries are counted before their places are made": (
        lambda: steps("nonzero", T, result=places(3, 2)),
        (
            "+360:contiguous +4:length +1:Reduce -Reduce +48:0 +1023:Select -Select -length "
            "-contiguous"
        ),
    ),
    "a number without dimensions has no places": (
        lambda: steps("nonzero", floats(), result=places(1, 0)),
        "+4:length +1:Reduce -Reduce +0:0 -length",
    ),
    "one block counts 4,096": (
        lambda: steps("nonzero", floats(4096), result=places(3, 1)),
        "+4:length +1:Reduce -Reduce +24:0 +1023:Select -Select -length",
    ),
    "several count more": (
        lambda: steps("nonzero", floats(4097), result=places(3, 1)),
        "+4:length ~21120:Reduce -Reduce +24:0 +1023:Select -Select -length",
    ),
    "a running sum in another type": (
        lambda: steps("cumsum", floats(4, dtype=INT32), 0, result=places(4)),
        "+32:0 +32:copy +1279:Scan -Scan -copy",
    ),
    "a running sum of columns": (
        lambda: steps("cumsum", T, 1, result=floats(10, 9)),
        "+360:0 +360:copy -copy",
    ),
    "a running sum of nothing, and of a number": (
        lambda: (
            f"{steps('cumsum', floats(0), 0, result=floats(0))} "
            f"{steps('cumsum', floats(dtype=INT32), 0, result=places())}"
        ),
        "+0:0 +8:0",
    ),
    "a running sum in half precision": (
        lambda: steps("cumsum", floats(4, dtype=HALF), 0, result=floats(4, dtype=HALF)),
        "+8:0 +1279:Scan -Scan",
    ),
    "running maxima of columns": (
        lambda: steps("cummax", T, 1, result=(floats(10, 9), places(10, 9))),
        "+360:0 +720:1 +360:cummax -cummax",
    ),
    "a norm for each slice": (
        lambda: steps("renorm", floats(8, 6), 2, 0, 1.0, result=floats(8, 6)),
        "+192:0 +32:norms -norms",
    ),
    "norms of low precision are wider, and so need factors": (
        lambda: steps(
            "renorm", floats(8, 6, dtype=HALF), 2, 1, 1.0, result=floats(8, 6, dtype=HALF)
        ),
        "+96:0 +24:norms +12:factors -factors -norms",
    ),
    "powers of two of each exponent": (
        lambda: steps("ldexp", floats(6), floats(3, 1, dtype=INT32), result=floats(3, 6)),
        "+12:powers +72:0 -powers",
    ),
    "scattered means": (
        lambda: steps(
            "scatter_reduce",
            floats(10, 5),
            0,
            places(5, 5),
            floats(5, 5),
            "mean",
            result=floats(10, 5),
        ),
        "+200:0 +200:counts +100:ones +50:is_zero -is_zero -ones -counts",
    ),
    "indexed means": (
        lambda: steps(
            "index_reduce", floats(5, 5), 1, places(10), floats(5, 10), "mean", result=floats(5, 5)
        ),
        "+100:0 +100:counts +200:ones -ones +25:is_zero -is_zero -counts",
    ),
    "as many true entries as are asked for: a sum and a place for each block": (
        lambda: steps("nonzero_static", floats(100, 200).t(), result=places(3, 2)),
        "+48:0 +80000:contiguous +12:sums +24:places -places -sums -contiguous",
    ),
    "at most a block for each processor": (
        lambda: steps("nonzero_static", floats(8192 * 300), result=places(3, 1)),
        "+24:0 +400:sums +800:places -places -sums",
    ),
    "and two where entries are bytes": (
        lambda: steps("nonzero_static", floats(8192 * 300, dtype=BOOL), result=places(3, 1)),
        "+24:0 +600:sums +1200:places -places -sums",
    ),
    "CUB counts up to an int's last but one": (
        lambda: str(steps("nonzero", floats(2**31 - 2), result=places(3, 1)))[:9],
        "+4:length",
    ),
    "none are asked for, or there are none": (
        lambda: (
            f"{steps('nonzero_static', floats(20), result=places(0, 1))} "
            f"{steps('nonzero_static', floats(0), result=places(3, 1))}"
        ),
        "+0:0 +24:0",
    ),
}


@pytest.mark.parametrize(("taken", "expected"), IN_ORDER.values(), ids=IN_ORDER)
def test_requests_and_frees_are_those_of_the_source_in_its_order(taken, expected):
    """Which of two temporaries goes first decides a peak."""
    assert expected == taken()


NOT_KNOWN = {
    "a running sum into columns": lambda: steps("cumsum", floats(4, 2), 1, result=floats(2, 4).t()),
    "a running sum of complex numbers": lambda: steps(
        "cumsum", floats(4, dtype=torch.complex64), 0, result=floats(4, dtype=torch.complex64)
    ),
    "more than CUB counts at once": lambda: steps(
        "nonzero", floats(2**31 - 1), result=places(3, 1)
    ),
}


@pytest.mark.parametrize("taken", NOT_KNOWN.values(), ids=NOT_KNOWN)
def test_what_has_no_formula_for_these_arguments_is_not_known(taken):
    """It is named instead, and bounded where a bound is known."""
    assert taken() is None


@pytest.mark.parametrize(
    ("length", "num_blocks"),
    [(1 << 18, 256), (811_008, 792), (811_009, 634), (1 << 21, 745), (1 << 24, 1024)],
)
def test_a_thread_of_a_long_search_looks_at_4_to_64_entries(length, num_blocks):
    """256 threads a block, 6 blocks a processor; a block has a count of 2 bytes for 256 digits."""
    taken = steps("topk", floats(length), 3, result=(floats(3), places(3)))
    digits = f" +{num_blocks * 512}:counts +1024:counts_of_slices "
    assert f"{digits}+{num_blocks * 4}:within_k +{num_blocks * 4}:kth " in taken
