"""What drawing random numbers takes on CUDA, in the order of its source."""

from __future__ import annotations

import pytest
from kernel_steps import DOUBLE, HALF, MI300X, floats, places, steps

IN_ORDER = {
    "halves are drawn by their probabilities as floats": (
        lambda: steps("bernoulli", floats(4, 6, dtype=HALF), result=floats(4, 6, dtype=HALF)),
        "+48:0 +96:probabilities -probabilities",
    ),
    "floats are read as they are": (
        lambda: steps("bernoulli", floats(4, 6), result=floats(4, 6)),
        "+96:0",
    ),
    "doubles are drawn by doubles": (
        lambda: steps("bernoulli", floats(4, dtype=DOUBLE), result=floats(4, dtype=DOUBLE)),
        "+32:0",
    ),
    "a row of probabilities is one row in the other type, too": (
        lambda: steps("bernoulli", floats(4, 6), floats(6, dtype=HALF), result=floats(4, 6)),
        "+96:0 +24:probabilities -probabilities",
    ),
    "one probability is no tensor": (
        lambda: steps("bernoulli", floats(4, 6, dtype=HALF), 0.5, result=floats(4, 6, dtype=HALF)),
        "+48:0",
    ),
    "nothing is drawn without a copy": (
        lambda: steps("bernoulli", floats(0, dtype=HALF), result=floats(0, dtype=HALF)),
        "+0:0",
    ),
    "deviations are looked at": (
        lambda: steps("normal", floats(6), floats(6), result=floats(6)),
        "+4:smallest +1:is_valid +24:0 -is_valid -smallest",
    ),
    "no deviations are not": (
        lambda: steps("normal", floats(0), floats(0), result=floats(0)),
        "+0:0",
    ),
    "one mean is a tensor of one": (
        lambda: steps("normal", 1.0, floats(6), result=floats(6)),
        "+4:smallest +1:is_valid +24:0 +4:mean -mean -is_valid -smallest",
    ),
    "one deviation is a tensor as large as the result": (
        lambda: steps("normal", floats(6), 1.0, result=floats(6)),
        "+24:0 +24:deviations -deviations",
    ),
    "a range is sorted by keys of 32 bits": (
        lambda: steps("randperm", 10_000, result=places(10_000)),
        (
            "+80000:0 +80000:range +40000:keys +40000:sorted_keys +131071:RadixSort -RadixSort "
            "-sorted_keys -keys -range"
        ),
    ),
    "keys have as many bits as keep them different": (
        lambda: " ".join(
            str(steps("randperm", count, result=places(count))).split()[2]
            for count in (30_083, 30_084)
        ),
        f"+{4 * 30_083}:keys +{8 * 30_084}:keys",
    ),
    "no range is not sorted": (lambda: steps("randperm", 0, result=places(0)), "+0:0"),
    "rocPRIM sorts in no more than this": (
        lambda: " ".join(str(steps("randperm", 4, result=places(4), kernels=MI300X)).split()[2:5]),
        "+16:keys +16:sorted_keys ~26672:RadixSort",
    ),
}


@pytest.mark.parametrize(("taken", "expected"), IN_ORDER.values(), ids=IN_ORDER)
def test_draws_take_what_the_source_says_in_its_order(taken, expected):
    """Which of two temporaries goes first decides a peak."""
    assert expected == taken()


def test_what_is_drawn_in_place_takes_nothing():
    x = floats(6)
    assert steps("normal_", x, 0.0, 1.0, result=x) == ""


def test_numbers_alone_are_not_known():
    assert steps("normal", 0.0, 1.0, result=floats(6)) is None
