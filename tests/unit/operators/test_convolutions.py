"""What torch itself requests in a convolution on CUDA, and where cuDNN's workspace begins."""

from __future__ import annotations

import pytest
import torch

from oom_suite.operators.cuda.convolutions import layout_of
from oom_suite.operators.inside import is_partial
from tests.unit.operators.kernel_steps import HALF, MI300X, floats, steps_of_new

X, WEIGHT, OUT = floats(2, 4, 5, 5), floats(6, 4, 3, 3), floats(2, 6, 3, 3)
PLAIN = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)
DEPTHWISE = (*PLAIN[:5], 4)
LAST = torch.channels_last


def last(tensor):
    return torch.empty(tensor.shape, device="meta", memory_format=LAST)


def forward(x=X, weight=WEIGHT, out=OUT, rest=PLAIN, **kwargs):
    return steps_of_new("convolution", x, weight, None, *rest, result=out, **kwargs)


def backward(gradient, x=X, weight=WEIGHT, rest=PLAIN, wanted=(True, True, False), **kwargs):
    made = (x, weight, floats(weight.shape[0]))
    result = tuple(one if is_wanted else None for one, is_wanted in zip(made, wanted, strict=True))
    args = (gradient, x, weight, None, *rest, wanted)
    return steps_of_new("convolution_backward", *args, result=result, **kwargs)


def test_operands_in_rows_are_taken_as_they_are():
    assert "+432:0" == forward()


def test_an_input_that_does_not_lie_in_rows_is_copied_first():
    assert "+800:input +432:0 -input" == forward(x=X.mT)


def test_channels_last_of_one_lay_out_both():
    assert "+432:0 +864:weight -weight" == forward(x=last(X))
    assert "+800:input +432:0 -input" == forward(weight=last(WEIGHT))
    assert "+432:0" == forward(x=last(X), weight=last(WEIGHT))


def test_doubles_are_never_laid_out_with_channels_last():
    wide = torch.empty(X.shape, dtype=torch.float64, device="meta", memory_format=LAST)
    assert torch.contiguous_format is layout_of(wide, wide)
    assert LAST is layout_of(last(X), X)
    assert torch.contiguous_format is layout_of(X[0], X[0])
    assert torch.channels_last_3d is layout_of(
        torch.empty(2, 4, 3, 3, 3, device="meta", memory_format=torch.channels_last_3d), X[None]
    )


def test_a_gradient_spread_out_from_one_number_is_copied_for_each_half():
    spread = torch.empty((), device="meta").expand(OUT.shape)
    assert "+800:0 +432:part -part +432:part +864:1 -part" == backward(spread)
    assert "+432:part +864:0 -part" == backward(spread, wanted=(False, True, False))
    assert "+800:0 +864:1" == backward(OUT)


def test_a_gradient_that_lies_otherwise_than_the_input_is_copied_once():
    assert "+432:gradient +800:0 +864:1 -gradient" == backward(last(OUT))


def test_the_gradient_of_a_bias_comes_last():
    found = backward(OUT, wanted=(False, False, True))
    assert found.startswith("+24:0")
    assert "+800:0 +864:1 +24:2" == backward(OUT, wanted=(True, True, True))


def test_a_transposed_convolution_keeps_the_copy_for_both_halves():
    rest = ([1, 1], [0, 0], [1, 1], True, [0, 0], 1)
    spread = torch.empty((), device="meta").expand(OUT.shape)
    assert "+432:gradient +800:0 +864:1 -gradient" == backward(spread, rest=rest)


def test_torchs_own_depthwise_kernel_makes_the_weights_gradient_first():
    weight = floats(4, 1, 3, 3)
    gradient = torch.empty((), device="meta").expand(2, 4, 3, 3)
    expected = "+288:gradient +144:1 +800:0 -gradient"
    assert expected == backward(gradient, weight=weight, rest=DEPTHWISE)


@pytest.mark.parametrize(
    ("x", "weight", "rest", "expected"),
    [
        (X, floats(4, 1, 3, 3), DEPTHWISE, False),
        (X, floats(8, 1, 3, 3), DEPTHWISE, False),
        (X, WEIGHT, PLAIN, True),
        (X, floats(4, 2, 3, 3), (*PLAIN[:5], 2), True),
        (last(X), floats(4, 1, 3, 3), DEPTHWISE, True),
        (floats(2, 4, 5, 5, dtype=HALF), floats(4, 1, 3, 3, dtype=HALF), DEPTHWISE, True),
        (floats(2, 1, 5, 5), floats(4, 1, 3, 3), PLAIN, True),
        (floats(2, 4, 5, 5, 5), floats(4, 1, 3, 3, 3), DEPTHWISE, True),
        (X, floats(4, 1, 3, 3), (*PLAIN[:3], True, [0, 0], 4), True),
    ],
    ids=[
        *("own", "several of each", "dense", "groups", "channels last", "half", "one channel"),
        *("three dimensions", "transposed"),
    ],
)
def test_cudnn_takes_more_but_where_the_kernel_is_torchs_own(x, weight, rest, expected):
    assert expected is is_partial("aten::convolution", (x, weight, None, *rest))
    gradient = floats(2, weight.shape[0], 3, 3)
    args = (gradient, x, weight, None, *rest, (True, True, True))
    assert expected is is_partial("aten::convolution_backward", args)


def test_other_operators_and_targets_have_no_such_part():
    assert not is_partial("aten::add", (X, X))
    assert forward(kernels=MI300X) is None
    assert backward(OUT, kernels=MI300X) is None
    # The rest of the arguments by name.
    assert steps_of_new("convolution", X, WEIGHT, result=OUT) is None
    assert steps_of_new("convolution_backward", OUT, X, WEIGHT, result=(X, WEIGHT)) is None
    assert is_partial("aten::convolution", (X, WEIGHT))
    none = floats(0, 4, 5, 5)
    assert forward(x=none) is None
    assert backward(OUT, x=none) is None
