"""What torch itself requests in a convolution on CUDA, and where cuDNN's workspace begins."""

from __future__ import annotations

import pytest
import torch

from oom_suite.operators.cuda.convolutions import layout_of
from oom_suite.operators.inside import is_partial
from oom_suite.operators.kernels import Call
from tests.unit.operators.kernel_steps import H200, MI300X, floats, steps_of_new

X, WEIGHT, OUT = floats(2, 4, 5, 5), floats(6, 4, 3, 3), floats(2, 6, 3, 3)
PLAIN = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)
DEPTHWISE = (*PLAIN[:5], 4)
LAST = torch.channels_last


def last(tensor):
    return torch.empty(tensor.shape, device="meta", memory_format=LAST)


def own(line):
    """What torch asks for itself, without cuDNN's workspaces."""
    words = (line or "").split()
    return line and " ".join(word for word in words if not word.endswith("cuDNN's_workspace"))


def forward(x=X, weight=WEIGHT, out=OUT, rest=PLAIN, **kwargs):
    return own(whole_forward(x, weight, out, rest, **kwargs))


def whole_forward(x=X, weight=WEIGHT, out=OUT, rest=PLAIN, **kwargs):
    return steps_of_new("convolution", x, weight, None, *rest, result=out, **kwargs)


def backward(*args, **kwargs):
    return own(whole_backward(*args, **kwargs))


def whole_backward(gradient, x=X, weight=WEIGHT, rest=PLAIN, wanted=(True, True, False), **kwargs):
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


def test_filters_in_rows_are_copied_for_an_input_with_channels_last():
    """For the gradient of the input alone, which is made from them."""
    assert "+800:0 +864:weight -weight +864:1" == backward(last(OUT), x=last(X))
    assert "+864:0" == backward(last(OUT), x=last(X), wanted=(False, True, False))
    assert "+800:0 +864:1" == backward(last(OUT), x=last(X), weight=last(WEIGHT))


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


def is_left(op, *args, result=OUT, kernels=H200):
    """Whether cuDNN may take more than the steps have."""
    return is_partial(Call(f"aten::{op}", args, {}, result, kernels))


@pytest.mark.parametrize(
    ("x", "weight", "rest"),
    [
        (X, floats(4, 1, 3, 3), DEPTHWISE),
        (X, floats(8, 1, 3, 3), DEPTHWISE),
    ],
    ids=["own", "several of each"],
)
def test_torchs_own_kernel_takes_nothing(x, weight, rest):
    out = floats(2, weight.shape[0], 3, 3)
    assert "cuDNN" not in whole_forward(x, weight, out, rest)
    assert not is_left("convolution", x, weight, None, *rest, result=out)
    assert not is_left("convolution_backward", out, x, weight, None, *rest, (True, True, True))


@pytest.mark.parametrize(
    ("x", "weight", "rest"),
    [
        (last(X), floats(4, 1, 3, 3), DEPTHWISE),
        (floats(2, 1, 5, 5), floats(4, 1, 3, 3), PLAIN),
        (floats(2, 4, 5, 5, 5), floats(4, 1, 3, 3, 3), ([1] * 3, [0] * 3, [1] * 3, *DEPTHWISE[3:])),
        (X, floats(4, 1, 3, 3), (*PLAIN[:3], True, [0, 0], 4)),
    ],
    ids=["channels last", "one channel", "three dimensions", "transposed"],
)
def test_cudnn_bounds_a_depthwise_convolution_that_torch_has_no_kernel_for(x, weight, rest):
    half = torch.bfloat16
    out = floats(2, 4, *[3] * (x.dim() - 2), dtype=half)
    args = (x.to(half), weight.to(half), None, *rest)
    assert not is_left("convolution", *args, result=out)
    assert "~" in steps_of_new("convolution", *args, result=out)


STRIDED = ([2, 2], *PLAIN[1:])


@pytest.mark.parametrize(
    ("dtype", "rest", "expected"),
    [
        (torch.bfloat16, PLAIN, False),
        (torch.float32, PLAIN, True),
        (torch.float16, PLAIN, True),
        (torch.float32, STRIDED, False),
        (torch.float16, STRIDED, False),
        (torch.float64, STRIDED, True),
    ],
)
def test_what_transforms_of_filters_may_take_without_use_is_a_name(dtype, rest, expected):
    x, weight, out = (each.to(dtype) for each in (X, WEIGHT, OUT))
    assert expected is is_left("convolution", x, weight, None, *rest, result=out)
    wanted = (True, True, True)
    args = (out, x, weight, None, *rest, wanted)
    assert expected is is_left("convolution_backward", *args, result=None)
    bias_alone = (*args[:-1], (False, False, True))
    assert not is_left("convolution_backward", *bias_alone, result=None)


def test_cudnn_asks_where_torch_has_laid_out_its_operands():
    """Forward beside the copy of the filters, and for each half beside its own copies."""
    half = torch.bfloat16
    x, weight, out = X.to(half), WEIGHT.to(half), OUT.to(half)
    words = whole_forward(last(x).to(half), weight, out).split()
    names = [word.partition(":")[2] or word for word in words]
    space = ["cuDNN's_workspace", "-cuDNN's_workspace"]
    assert ["0", "weight", *space, "-weight"] == names
    spread = torch.empty((), device="meta", dtype=half).expand(OUT.shape)
    words = [word.partition(":")[2] or word for word in whole_backward(spread, x, weight).split()]
    assert ["0", "part", *space, "-part", "part", "1", *space, "-part"] == words


def test_other_operators_and_targets_have_no_such_part():
    assert not is_left("add", X, X)
    assert forward(kernels=MI300X) is None
    assert backward(OUT, kernels=MI300X) is None
    assert is_left("convolution", X, WEIGHT, None, *PLAIN, kernels=MI300X)
    # The rest of the arguments by name.
    assert steps_of_new("convolution", X, WEIGHT, result=OUT) is None
    assert steps_of_new("convolution_backward", OUT, X, WEIGHT, result=(X, WEIGHT)) is None
    assert is_left("convolution", X, WEIGHT)
    none = floats(0, 4, 5, 5)
    assert forward(x=none) is None
    assert backward(OUT, x=none) is None
