"""Fake kernels that the lanes take in place of torch's slow ones."""

from __future__ import annotations

import itertools

import pytest
import torch

from oom_suite.torch_compat.fake_cuda import fake_cuda
from oom_suite.tracing.fake_mode import LaneFakeMode

DTYPES = (
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
)  # fmt: skip
SHAPES = [((3, 4), (3, 4)), ((3, 1), (4,)), ((3, 4), ()), ((), (3, 4)), ((), ())]


def made(function, *args):
    result = function(*args)
    return result.dtype, result.shape, result.stride()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_floor_division_is_as_torch_makes_it(dtype):
    """Of all dtypes that have one, shapes that broadcast, numbers, and columns first."""
    mode = LaneFakeMode()
    for other, (shape, other_shape) in itertools.product(DTYPES, SHAPES):
        for x in (torch.ones(shape).to(dtype), torch.ones(shape[::-1]).to(dtype).t().clone()):
            y = torch.ones(other_shape).to(other)
            expected = made(torch.floor_divide, x, y) if x.shape == shape else None
            if expected is not None:
                with mode:
                    fakes = mode.from_tensor(x), mode.from_tensor(y)
                    assert expected == made(torch.floor_divide, *fakes), (other, shape)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.bool], ids=str)
@pytest.mark.parametrize("number", [2, 2.5])
def test_a_floor_division_by_a_number_is_as_torch_makes_it(dtype, number):
    x = torch.ones(3, 4).to(dtype)
    mode = LaneFakeMode()
    with mode:
        fake = mode.from_tensor(x)
        assert made(torch.floor_divide, x, number) == made(torch.floor_divide, fake, number)


def test_a_floor_division_in_place_keeps_its_tensor():
    mode = LaneFakeMode()
    with mode:
        x = torch.ones(3, 4, dtype=torch.int32)
        assert x is x.floor_divide_(x)
        assert x is x.floor_divide_(2)
        assert torch.int32 is x.dtype


@pytest.mark.parametrize(
    ("dtype", "number"), [(torch.complex64, 2), (torch.float32, 1j)], ids=["tensor", "number"]
)
def test_what_has_no_floor_division_gets_none(dtype, number):
    """A product would have one."""
    mode = LaneFakeMode()
    with mode:
        x = torch.ones(3, dtype=dtype)
        x.mul(number)
        with pytest.raises((RuntimeError, TypeError)):
            torch.floor_divide(x, number)


GROUPED = {
    "rows of each group": ((6, 8), (2, 8, 5), True),
    "columns of each group": ((2, 3, 8), (8, 6), True),
    "a part of the inner dimension": ((3, 8), (8, 5), True),
    "one for each": ((2, 3, 8), (2, 8, 5), False),
}


@pytest.mark.parametrize("kind", GROUPED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_a_grouped_product_is_as_torch_makes_it(kind, dtype):
    """Rows begin at multiples of 16 bytes; torch's own fake kernel knows bfloat16 alone."""
    left, right, has_offsets = GROUPED[kind]
    x, y = torch.ones(left, dtype=dtype), torch.ones(right, dtype=dtype).mT.contiguous().mT
    offs = torch.tensor([4, left[-1] if kind.startswith("a part") else 6], dtype=torch.int32)
    mode = LaneFakeMode()
    with mode:
        fakes = [mode.from_tensor(each) for each in (x, y, offs)]
        found = torch._grouped_mm(*fakes[:2], offs=fakes[2] if has_offsets else None)
    expected = torch._grouped_mm(x, y, offs=offs if has_offsets else None)
    assert made(lambda: expected) == made(lambda: found)


def test_a_grouped_product_on_rocm_has_no_gaps(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "7.0")
    with LaneFakeMode():
        x, y = torch.ones(6, 8), torch.ones(2, 8, 5)
        assert (5, 1) == torch._grouped_mm(x, y, offs=torch.ones(2, dtype=torch.int32)).stride()


def conv_strides(x, weight, *, hip=None):
    """Strides of a convolution's result and of both gradients, for CUDA or for ROCm."""
    with fake_cuda(), pytest.MonkeyPatch.context() as patch, LaneFakeMode():
        patch.setattr(torch.version, "hip", hip)
        x, weight = x("cuda"), weight("cuda")
        rest = (None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)
        out = torch.ops.aten.convolution.default(x, weight, *rest)
        gradients = torch.ops.aten.convolution_backward.default(
            out.new_empty(()).expand(out.shape), x, weight, *rest, [True, True, False]
        )
        return [
            each.is_contiguous(memory_format=torch.channels_last) for each in (out, *gradients[:2])
        ]


def image(device, **layout):
    return torch.empty(2, 8, 5, 5, device=device, **layout)


def kernel(device, **layout):
    return torch.empty(4, 8, 3, 3, device=device, **layout)


LAST = {"memory_format": torch.channels_last}


def test_a_convolution_lies_as_cudnn_lays_it_out():
    assert [False] * 3 == conv_strides(image, kernel)
    assert [True] * 3 == conv_strides(lambda device: image(device, **LAST), kernel)
    assert [True, True, False] == conv_strides(image, lambda device: kernel(device, **LAST))


def test_on_rocm_it_lies_as_torch_makes_it():
    assert [False] * 3 == conv_strides(lambda device: image(device, **LAST), kernel, hip="7.0")
