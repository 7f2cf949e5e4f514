"""What counting in bins looks at first on CUDA."""

from __future__ import annotations

import pytest
import torch
from kernel_steps import INT32, floats, places, shared, steps

MANY = 1 << 20
BYTES = torch.uint8

IN_ORDER = {
    "a range that is not given is looked for": (
        lambda: steps("histc", floats(4, 5), 100, result=floats(100)),
        "+400:0 +4:smallest -smallest +4:largest -largest",
    ),
    "many are looked through by several blocks": (
        lambda: steps("histc", floats(MANY), 10, 0, 0, result=floats(10)),
        f"+40:0 +4:smallest {shared(512)} -smallest +4:largest {shared(512)} -largest",
    ),
    "a range that is given is not": (
        lambda: steps("histc", floats(4, 5), 3, 0, 1, result=floats(3)),
        "+12:0",
    ),
    "a range of nothing is none": (
        lambda: steps("histc", floats(4, 5), 3, 1, 1, result=floats(3)),
        "+12:0 +4:smallest -smallest +4:largest -largest",
    ),
    "nothing is not looked at": (
        lambda: steps("histc", floats(0), 3, result=floats(3)),
        "+12:0",
    ),
    "whole numbers are looked at before there are bins": (
        lambda: steps("bincount", places(10), result=places(7)),
        "+8:smallest -smallest +8:largest -largest +56:0",
    ),
    "bytes are never below zero": (
        lambda: steps("bincount", floats(10, dtype=BYTES), result=places(7)),
        "+1:largest -largest +56:0",
    ),
    "weights of whole numbers are doubles": (
        lambda: steps(
            "bincount", places(10), floats(10, dtype=INT32), result=floats(7, dtype=torch.float64)
        ),
        "+80:weights +8:smallest -smallest +8:largest -largest +56:0 -weights",
    ),
    "weights of fractions are not": (
        lambda: steps("bincount", places(10), floats(10), result=floats(7)),
        "+8:smallest -smallest +8:largest -largest +28:0",
    ),
    "nothing is counted without a look": (
        lambda: steps("bincount", places(0), None, 7, result=places(7)),
        "+56:0",
    ),
}


@pytest.mark.parametrize(("taken", "expected"), IN_ORDER.values(), ids=IN_ORDER)
def test_histograms_take_what_the_source_says_in_its_order(taken, expected):
    """What is looked at is given back before the next."""
    assert expected == taken()
