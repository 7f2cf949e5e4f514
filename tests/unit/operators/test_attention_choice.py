"""Which attention kernel is taken, at each condition's edge: one step beyond, another is."""

from __future__ import annotations

import pytest
import torch
from kernel_steps import floats

from oom_suite.operators.attention import Attention, Device, choice

H200 = Device("cuda", (9, 0), 132, 91_900)
B200 = Device("cuda", (10, 0), 148, 92_200)
OLD = Device("cuda", (9, 0), 132, 91_500)
MI300 = Device("rocm", (9, 4), 304, 91_900)
MATH, FLASH, EFFICIENT, CUDNN = range(4)
BOOL, HALF, FLOAT = torch.bool, torch.float16, torch.float32


def half(*sizes):
    return floats(*sizes, dtype=HALF)


def asked(query=(2, 4, 64, 64), key=None, value=None, dtype=HALF, **other):
    """A call of inputs of these sizes; keys as the query, values as the keys, where not given."""
    key = key or query
    made = (floats(*sizes, dtype=dtype) for sizes in (query, key, value or key))
    return Attention(*made, **other)


def columns(*sizes):
    """A tensor whose last dimension is not contiguous."""
    return half(*sizes[:-2], sizes[-1], sizes[-2]).transpose(-1, -2)


CHOICES = {
    "cuDNN on Hopper": (CUDNN, H200, asked()),
    "cuDNN on Blackwell": (CUDNN, B200, asked()),
    "flash on Ada": (FLASH, Device("cuda", (8, 9), 142, 91_900), asked()),
    "flash with an older cuDNN": (FLASH, OLD, asked()),
    "flash on ROCm": (FLASH, MI300, asked()),
    "cuDNN at 128 on Blackwell": (CUDNN, B200, asked((2, 4, 64, 128))),
    "no cuDNN beyond on Blackwell": (FLASH, B200, asked((2, 4, 64, 136))),
    "cuDNN beyond with a newer one": (
        CUDNN,
        Device("cuda", (10, 3), 148, 92_201),
        asked((2, 4, 64, 256)),
    ),
    "no cuDNN for values beyond": (MATH, B200, asked(value=(2, 4, 64, 100))),
    "cuDNN for values of another width": (CUDNN, H200, asked(value=(2, 4, 64, 128))),
    "no cuDNN for values of no multiple of 8": (MATH, H200, asked(value=(2, 4, 64, 100))),
    "cuDNN for 65,535 batches": (CUDNN, H200, asked((65_535, 1, 2, 8))),
    "no cuDNN for 65,536 batches": (FLASH, H200, asked((65_536, 1, 2, 8))),
    "cuDNN for 65,535 heads": (CUDNN, H200, asked((1, 65_535, 2, 8))),
    "no cuDNN for 65,536 heads": (FLASH, H200, asked((1, 65_536, 2, 8))),
    "no cuDNN for one key": (FLASH, H200, asked(key=(2, 4, 1, 64))),
    "cuDNN with dropout": (CUDNN, H200, asked(dropout=0.1)),
    "no cuDNN with dropout for one query": (
        FLASH,
        H200,
        asked((2, 4, 1, 64), (2, 4, 9, 64), dropout=0.1),
    ),
    "float32 is memory-efficient": (EFFICIENT, H200, asked(dtype=FLOAT)),
    "float64 is computed": (MATH, H200, asked(dtype=torch.float64)),
    "three dimensions are computed": (MATH, H200, asked((4, 64, 64))),
    "no queries are computed": (MATH, H200, asked((2, 4, 0, 64), (2, 4, 9, 64))),
    "no keys are computed": (MATH, H200, asked(key=(2, 4, 0, 64))),
    "no keys in float32 are computed": (MATH, H200, asked(key=(2, 4, 0, 64), dtype=FLOAT)),
    "flash up to 256": (FLASH, OLD, asked((2, 4, 64, 256))),
    "memory-efficient beyond": (EFFICIENT, OLD, asked((2, 4, 64, 264))),
    "flash for a causal square": (FLASH, OLD, asked(is_causal=True)),
    "no flash for a causal oblong": (EFFICIENT, OLD, asked(key=(2, 4, 65, 64), is_causal=True)),
    "flash for an oblong": (FLASH, OLD, asked(key=(2, 4, 65, 64))),
    "no flash for values of another width": (EFFICIENT, OLD, asked(value=(2, 4, 64, 128))),
    "no flash with a mask": (EFFICIENT, OLD, asked(mask=half(64, 64))),
    "flash for shared heads": (FLASH, OLD, asked(key=(2, 2, 64, 64), has_groups=True)),
    "nothing fused for heads that differ": (MATH, OLD, asked(key=(2, 2, 64, 64))),
    "nothing fused for heads that do not divide": (
        MATH,
        OLD,
        asked(key=(2, 3, 64, 64), has_groups=True),
    ),
    "no flash where values share otherwise": (
        MATH,
        OLD,
        asked(key=(2, 2, 64, 64), value=(2, 1, 64, 64), has_groups=True),
    ),
    "cuDNN where values share otherwise": (
        CUDNN,
        H200,
        asked(key=(2, 2, 64, 64), value=(2, 1, 64, 64), has_groups=True),
    ),
    "nothing fused for batches that differ": (MATH, H200, asked(key=(1, 4, 64, 64))),
    "nothing fused for values' batches that differ": (MATH, H200, asked(value=(1, 4, 64, 64))),
    "no memory-efficient sharing": (
        MATH,
        H200,
        asked(key=(2, 2, 64, 64), has_groups=True, dtype=FLOAT),
    ),
    "float32 of a multiple of 4": (EFFICIENT, H200, asked((2, 4, 64, 60), dtype=FLOAT)),
    "float32 of none": (MATH, H200, asked((2, 4, 64, 62), dtype=FLOAT)),
    "float32 values of none": (MATH, H200, asked(value=(2, 4, 64, 62), dtype=FLOAT)),
    "float32 on ROCm of a multiple of 8": (EFFICIENT, MI300, asked(dtype=FLOAT)),
    "float32 on ROCm of none": (MATH, MI300, asked((2, 4, 64, 60), dtype=FLOAT)),
    "keys of another width are computed": (MATH, OLD, asked(key=(2, 4, 64, 72))),
    "no width is computed": (MATH, H200, asked((2, 4, 64, 0), dtype=FLOAT)),
    "a mask of its own type on ROCm": (EFFICIENT, MI300, asked(mask=half(64, 64))),
    "a mask of another type on ROCm": (MATH, MI300, asked(mask=floats(64, 64))),
    "a mask of truth values on ROCm": (EFFICIENT, MI300, asked(mask=floats(64, 64, dtype=BOOL))),
    "cuDNN with a mask": (CUDNN, H200, asked(mask=half(64, 64))),
    "cuDNN with one row of a mask": (CUDNN, H200, asked(mask=half(1, 64))),
    "cuDNN with one head's mask": (CUDNN, H200, asked(mask=half(2, 1, 64, 64))),
    "no cuDNN with a mask of three": (EFFICIENT, H200, asked(mask=half(4, 64, 64))),
    "no cuDNN with a mask that needs a gradient": (
        EFFICIENT,
        H200,
        asked(mask=half(64, 64).requires_grad_()),
    ),
    "no kernel for a mask in columns": (MATH, H200, asked(mask=columns(64, 64))),
    "no kernel for keys in columns": (
        MATH,
        H200,
        Attention(half(2, 4, 64, 64), columns(2, 4, 64, 64), half(2, 4, 64, 64)),
    ),
    "flash for columns of one entry": (
        FLASH,
        OLD,
        Attention(half(2, 4, 64, 2)[..., ::2], half(2, 4, 64, 1), half(2, 4, 64, 1)),
    ),
    "another type of keys is computed": (
        MATH,
        H200,
        Attention(half(2, 4, 64, 64), floats(2, 4, 64, 64), half(2, 4, 64, 64)),
    ),
    "another type of values is computed": (
        MATH,
        H200,
        Attention(half(2, 4, 64, 64), half(2, 4, 64, 64), floats(2, 4, 64, 64)),
    ),
}


@pytest.mark.parametrize(("expected", "device", "call"), CHOICES.values(), ids=CHOICES)
def test_a_kernel_is_taken_up_to_its_edge(expected, device, call):
    assert expected == choice(call, device)


@pytest.mark.parametrize(
    ("cudnn", "expected"), [(91_100, FLASH), (91_600, CUDNN)], ids=["too old", "new enough"]
)
def test_cudnn_is_first_from_some_version_on(cudnn, expected):
    device = Device("cuda", (9, 0), 132, cudnn)
    assert expected == choice(asked(dropout=0.1), device)


def test_where_results_must_be_the_same_cudnn_is_left_out():
    """A warning alone changes nothing."""
    torch.use_deterministic_algorithms(True)
    try:
        strict = choice(asked(), H200)
        torch.use_deterministic_algorithms(True, warn_only=True)
        warned = choice(asked(), H200)
    finally:
        torch.use_deterministic_algorithms(False)
    assert (FLASH, CUDNN) == (strict, warned)


def test_gradients_are_needed_where_any_input_wants_one():
    """And not where none are recorded."""
    plain, wanting = half(1, 1, 2, 8), half(1, 1, 2, 8).requires_grad_()
    assert Attention(plain, wanting, plain).needs_gradients
    assert not Attention(plain, plain, plain).needs_gradients
    with torch.no_grad():
        assert not Attention(wanting, wanting, wanting).needs_gradients
