"""What the kernels of norms take for the gradients that are wanted, in the order of the source."""

from __future__ import annotations

import pytest
import torch

from oom_suite.operators.attention import Device
from oom_suite.operators.norm_steps import inside
from oom_suite.operators.steps import Take

H200 = Device("cuda", (9, 0), 132, 91_900)
OF_GROUPS = " +48:factors +48:terms"


def made(*sizes):
    return torch.empty(sizes, device="meta")


def group_norm(*wanted, area=30, with_weight=True):
    """Gradients of 3 images of 8 channels in 4 groups."""
    x, weight = made(3, 8, area), made(8)
    result = [
        one if is_it else None for one, is_it in zip((x, weight, weight), wanted, strict=True)
    ]
    given = (x, x, made(3, 4), made(3, 4), weight if with_weight else None)
    args = (*given, 3, 8, area, 4, list(wanted))
    steps = inside("aten::native_group_norm_backward", args, result, H200)
    return " ".join(
        f"+{each.num_bytes}:{each.name}" if isinstance(each, Take) else f"-{each.name}"
        for each in steps
    )


@pytest.mark.parametrize(
    ("wanted", "made_first"),
    [
        ((True, True, True), "+2880:0 +32:1 +32:2"),
        ((True, True, False), "+2880:0 +32:1"),
        ((True, False, False), "+2880:0"),
    ],
)
def test_the_inputs_gradient_of_a_group_norm_has_factors_of_each_group(wanted, made_first):
    """And of each channel where there are weights and more than one entry of it."""
    sums, end = " +96:products +96:sums", " -terms -factors -sums -products"
    weighted = f"{made_first}{sums}{OF_GROUPS} +96:weights -weights{end}"
    assert weighted == group_norm(*wanted)
    assert f"{made_first}{sums}{OF_GROUPS}{end}" == group_norm(*wanted, with_weight=False)
    single = f"{made_first}{sums}{OF_GROUPS}{end}".replace("2880", "96")
    assert single == group_norm(*wanted, area=1)


@pytest.mark.parametrize(
    ("wanted", "made_first"),
    [((False, True, True), "+32:1 +32:2"), ((False, False, True), "+32:2")],
)
def test_without_the_inputs_there_are_sums_alone(wanted, made_first):
    expected = f"{made_first} +96:products +96:sums -sums -products"
    assert expected == group_norm(*wanted)
