"""What indexing on CUDA copies and sorts, in the order of its source; and bounds of rocPRIM."""

from __future__ import annotations

import pytest
import torch
from kernel_steps import BOOL, H200, HALF, INT32, MI300X, floats, places, steps

IN_ORDER = {
    "unlike indices are copied before the result is made": (
        lambda: steps("index", floats(8, 16), [places(4, 1), places(1, 5)], result=floats(4, 5)),
        (
            "+160:contiguous_index_0 +160:contiguous_index_1 +80:0 -contiguous_index_1 "
            "-contiguous_index_0"
        ),
    ),
    "a narrow index is widened, to what it is broadcast to": (
        lambda: steps(
            "index", floats(8, 16), [floats(4, 1, dtype=INT32), places(4, 5)], result=floats(4, 5)
        ),
        "+160:widened_index_0 +80:0 -widened_index_0",
    ),
    "a write out of place is a copy, and then a write": (
        lambda: steps(
            "index_put",
            floats(8, 16),
            [places(4, 1), places(1, 5)],
            floats(4, 5),
            result=floats(8, 16),
        ),
        (
            "+512:0 +160:contiguous_index_0 +160:contiguous_index_1 -contiguous_index_1 "
            "-contiguous_index_0"
        ),
    ),
    "a write that adds sorts its places": (
        lambda: steps(
            "index_put",
            floats(6, 5, 4),
            [None, places(3)],
            floats(6, 3, 4),
            True,
            result=floats(6, 5, 4),
        ),
        (
            "+480:0 +24:linear_index +24:sorted +24:places +24:range +1:RadixSort -RadixSort "
            "-range -places -sorted -linear_index"
        ),
    ),
    "a write that adds under a mask gives the positions back before it sorts": (
        lambda: steps(
            "index_put",
            floats(6, 5),
            [floats(6, 5, dtype=BOOL)],
            floats(7),
            True,
            result=floats(6, 5),
        ),
        (
            "+120:0 +4:length +1:Reduce -Reduce +112:positions +1023:Select -Select -length "
            "+56:index_so_far +56:wrapped +56:scaled -scaled -wrapped -index_so_far -positions "
            "+56:linear_index +56:sorted +56:places +56:range +1:RadixSort -RadixSort -range "
            "-places -sorted -linear_index"
        ),
    ),
    "a mask of one dimension has one position each": (
        lambda: steps(
            "index_put",
            floats(6, 5),
            [floats(6, dtype=BOOL)],
            floats(2, 5),
            True,
            result=floats(6, 5),
        ),
        (
            "+120:0 +4:length +1:Reduce -Reduce +16:positions +1023:Select -Select -length "
            "+16:wrapped +16:scaled -scaled -wrapped -positions +16:linear_index +16:sorted "
            "+16:places +16:range +1:RadixSort -RadixSort -range -places -sorted -linear_index"
        ),
    ),
    "indices in rows that lie apart become one list": (
        lambda: steps("embedding", floats(4, 3), places(1, 5).expand(7, 5), result=floats(7, 5, 3)),
        "+280:indices +420:0 -indices",
    ),
    "indices with one step from each to the next are one list as they lie": (
        lambda: steps("embedding", floats(4, 3), places(7, 5)[:, :1], result=floats(7, 1, 3)),
        "+84:0",
    ),
    "rows that are made shorter are sorted, and taken once each": (
        lambda: steps("embedding_renorm_", W := floats(4, 3), places(2, 6), 1.0, 2.0, result=W),
        (
            "+96:sorted +96:places +48:arange -arange -places +96:unique +8:number "
            "~1023:Select -Select -number -unique -sorted"
        ),
    ),
    "a write that adds what is fewer copies it to all": (
        lambda: steps(
            "index_put",
            floats(6, 5, 4),
            [None, places(3)],
            floats(3, 4),
            True,
            result=floats(6, 5, 4),
        ),
        (
            "+480:0 +24:linear_index +288:values +24:sorted +24:places +24:range +1:RadixSort "
            "-RadixSort -range -places -sorted -values -linear_index"
        ),
    ),
    "places of few rows are compared in their own bits alone": (
        lambda: steps(
            "index_put",
            floats(300, 5),
            [places(5000)],
            floats(5000, 5),
            True,
            result=floats(300, 5),
        ),
        (
            "+6000:0 +40000:linear_index +40000:sorted +40000:places +40000:range +87039:RadixSort "
            "-RadixSort -range -places -sorted -linear_index"
        ),
    ),
    "nothing is added with nothing": (
        lambda: steps(
            "index_put", floats(6, 5), [places(0)], floats(0, 5), True, result=floats(6, 5)
        ),
        "+120:0",
    ),
}


@pytest.mark.parametrize(("taken", "expected"), IN_ORDER.values(), ids=IN_ORDER)
def test_requests_and_frees_are_those_of_the_source_in_its_order(taken, expected):
    """Which of two temporaries goes first decides a peak."""
    assert expected == taken()


def gradient(count, width, num_words, dtype=torch.float32, kernels=H200, **given):
    """The steps of the gradient of so many lookups of rows so wide."""
    grad = given.get("grad", floats(count, width, dtype=dtype))
    rows = given.get("rows", places(count))
    args = (grad, rows, num_words, -1, given.get("by_frequency", False))
    result = floats(num_words, width, dtype=dtype)
    return steps("embedding_dense_backward", *args, result=result, kernels=kernels)


SORTED = "+24584:sorted +24584:places +24584:range +67583:RadixSort -RadixSort -range"
SELECTED = "+24584:offsets +8:number +24584:unique ~1023:Select -Select -unique"


def test_the_gradient_of_many_lookups_sums_pieces_of_ten():
    """3,073 of ten words: each word has one piece more than ten fit into its lookups."""
    num_pieces = 307 + 10
    assert gradient(3073, 4, 10) == (
        f"{SORTED} +160:0 {SELECTED} +80:pieces +80:piece_offsets +1279:Scan -Scan "
        f"+8:number_of_pieces +{num_pieces * 8}:piece_starts ~{num_pieces * 16}:sums_of_pieces "
        "-sums_of_pieces -piece_starts -number_of_pieces -piece_offsets -pieces -number -offsets "
        "-places -sorted"
    )


def test_no_more_words_are_looked_up_than_there_are_lookups():
    """Pieces of low precision are summed in float32."""
    taken = gradient(3073, 4, 100_000, HALF)
    assert (
        f"+24584:pieces +24584:piece_offsets +1279:Scan -Scan +8:number_of_pieces +{3380 * 8}:"
        in (taken)
    )
    assert f" +{3380 * 16}:sums_of_pieces " in taken


def test_sums_of_pieces_may_be_less_where_they_are_more_than_four_to_a_word():
    """Three tens of lookups a word, and one piece more each: not yet."""
    assert f" +{4000 * 256}:sums_of_pieces " in gradient(30_000, 64, 1000)
    assert f" ~{3999 * 256}:sums_of_pieces " in gradient(30_000, 64, 999)


def test_a_gradient_and_places_that_are_not_contiguous_are_copied():
    strided = {"grad": floats(4, 3072).t(), "rows": places(3072, 2)[:, 0]}
    few = gradient(3072, 4, 10, **strided)
    assert few == "+49152:gradient +24576:indices +160:0 -indices -gradient"
    strided = {"grad": floats(4, 3073).t(), "rows": places(3073, 2)[:, 0]}
    many = gradient(3073, 4, 10, **strided)
    whole = gradient(3073, 4, 10)
    assert f"+49168:gradient +24584:indices {whole} -indices -gradient" == many


NOT_KNOWN = {
    "lookups weighed by their number": lambda: gradient(4, 4, 10, by_frequency=True),
    "places of four bytes": lambda: gradient(3073, 4, 10, rows=floats(3073, dtype=INT32)),
    "a mask for an index": lambda: steps(
        "index", floats(8, 16), [floats(8, dtype=BOOL)], result=floats(3, 16)
    ),
    "places that are apart": lambda: steps(
        "index_put",
        floats(6, 5, 4),
        [places(3), None, places(3)],
        floats(3, 5),
        True,
        result=floats(6, 5, 4),
    ),
    "a mask to add under": lambda: steps(
        "index_put", floats(6, 5), [floats(6, dtype=BOOL)], floats(5), True, result=floats(6, 5)
    ),
}


@pytest.mark.parametrize("taken", NOT_KNOWN.values(), ids=NOT_KNOWN)
def test_what_has_no_formula_for_these_arguments_is_not_known(taken):
    """It is named instead, and bounded where a bound is known."""
    assert taken() is None


def test_what_another_library_sorts_with_has_a_bound():
    """The places themselves are as many on every device."""
    args = (floats(6, 5), [places(2)], floats(2, 5), True)
    assert steps("index_put", *args, result=floats(6, 5), kernels=MI300X) == (
        "+120:0 +16:linear_index +16:sorted +16:places +16:range ~26656:RadixSort -RadixSort "
        "-range -places -sorted -linear_index"
    )
    summed = gradient(3073, 4, 10, kernels=MI300X)
    assert summed.startswith(f"{SORTED.replace('+67583', '~88080')} +160:0 ")


BOUNDED = {
    "a search": (
        lambda: steps("topk", floats(4), 3, result=(floats(3), places(3)), kernels=MI300X),
        "+12:0 +24:1",
    ),
    "a selection": (
        lambda: steps("nonzero", floats(4), result=places(3, 1), kernels=MI300X),
        "+4:length +1:Reduce -Reduce +24:0 ~9232:Select -Select -length",
    ),
    "a running sum": (
        lambda: steps(
            "masked_scatter", floats(4), floats(4, dtype=BOOL), floats(4), result=floats(4),
            kernels=MI300X,
        ),
        "+16:0 +32:places ~9232:Scan -Scan -places",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("taken", "expected"), BOUNDED.values(), ids=BOUNDED)
def test_what_another_library_takes_has_a_bound(taken, expected):
    """Of rocPRIM nobody knows the bytes, but no more than these."""
    assert expected == taken()
