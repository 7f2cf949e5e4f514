"""What bags of embeddings take on CUDA, and the sums of their gradients."""

from __future__ import annotations

import pytest
from kernel_steps import HALF, INT32, MI300X, floats, places, steps

BAGS = (floats(3, 4), places(10), places(3), places(3), floats(0))
SORTED = "+80:sorted +80:places +80:range +1:RadixSort -RadixSort -range"
SUMMED = (
    "+80:offsets +8:number +80:unique ~1023:Select -Select -unique +24:pieces +24:piece_offsets "
    "+1279:Scan -Scan +8:number_of_pieces +32:piece_starts +64:sums_of_pieces -sums_of_pieces "
    "-piece_starts -number_of_pieces -piece_offsets -pieces -number -offsets"
)


def backward(grad=BAGS[0], indices=BAGS[1], scale=False, mode=1, sparse=False, **more):
    given = (grad, indices, *BAGS[1:3], BAGS[3], BAGS[4])
    return steps(
        "_embedding_bag_backward", *given, 3, scale, mode, sparse, None, result=floats(3, 4), **more
    )


IN_ORDER = {
    "sizes come first, then the bag of each index": (
        lambda: steps(
            "_embedding_bag",
            floats(5, 4),
            places(10),
            places(3),
            result=(floats(3, 4), places(10), places(3), places(3)),
        ),
        "+24:2 +80:1 +48:0 +0:3",
    ),
    "the largest have their rows": (
        lambda: steps(
            "_embedding_bag_forward_only",
            floats(5, 4),
            places(10),
            places(3),
            False,
            2,
            result=(floats(3, 4), places(10), places(3), places(3, 4)),
        ),
        "+24:2 +80:1 +48:0 +96:3",
    ),
    "the last offset is no bag": (
        lambda: steps(
            "_embedding_bag",
            floats(5, 4),
            places(10),
            places(3),
            *(False, 0, False, None, True),
            result=(floats(2, 4), places(10), places(3), places(3)),
        ),
        "+24:2 +80:1 +32:0 +0:3",
    ),
    "narrow indices are widened": (
        lambda: steps(
            "_embedding_bag",
            floats(5, 4),
            floats(10, dtype=INT32),
            places(3),
            result=(floats(3, 4), places(10), places(3), places(3)),
        ),
        "+80:indices +24:2 +80:1 +48:0 +0:3 -indices",
    ),
    "gradients are sorted by row and summed in pieces": (
        backward,
        f"{SORTED} +48:0 {SUMMED} -places -sorted",
    ),
    "a gradient that is not in rows is copied": (
        lambda: backward(grad=floats(4, 3).t()),
        f"+48:gradient {SORTED} +48:0 {SUMMED} -places -sorted -gradient",
    ),
    "those of the largest are written": (lambda: backward(mode=2), "+48:0"),
    "no indices": (lambda: backward(indices=places(0)), "+48:0"),
    "the dense one has its arguments elsewhere": (
        lambda: steps(
            "_embedding_bag_dense_backward",
            *(BAGS[0], *BAGS[1:4], BAGS[4], 3, False, 1, None),
            result=floats(3, 4),
        ),
        f"{SORTED} +48:0 {SUMMED} -places -sorted",
    ),
}


@pytest.mark.parametrize(("taken", "expected"), IN_ORDER.values(), ids=IN_ORDER)
def test_bags_take_what_the_source_says_in_its_order(taken, expected):
    """Which of two temporaries goes first decides a peak."""
    assert expected == taken()


NOT_KNOWN = {
    "frequencies": lambda: backward(scale=True),
    "a sparse gradient": lambda: backward(sparse=True),
    "narrow indices": lambda: backward(indices=floats(10, dtype=INT32)),
    "indices that are copied": lambda: backward(indices=places(10, 2)[:, 0]),
}


@pytest.mark.parametrize("taken", NOT_KNOWN.values(), ids=NOT_KNOWN)
def test_other_gradients_are_not_known(taken):
    """They are named."""
    assert taken() is None


def test_rocprim_sorts_in_a_bound():
    assert "~" in backward(kernels=MI300X, grad=floats(3, 4, dtype=HALF))
