"""What cuDNN takes for a convolution at most, held against what an H200 and an H100 took."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from kernel_steps import H200, MI300X

from oom_suite.operators.cuda.cudnn import (
    FORWARD,
    OF_FILTER,
    OF_INPUT,
    Convolution,
    workspace,
)

BFLOAT16, FLOAT32 = torch.bfloat16, torch.float32
PARTS_BYTES = 3 * 256
MANY = Convolution((91, 16, 32, 32), (3, 3), (91, 32, 30, 30), 1, True, BFLOAT16)
FEW = Convolution((1, 16, 32, 32), (3, 3), (1, 32, 30, 30), 1, True, BFLOAT16)
ONE = Convolution((91, 16, 32, 32), (1, 1), (91, 64, 32, 32), 1, True, BFLOAT16)
LINE = Convolution((1, 16, 1048576), (5,), (1, 32, 1048572), 1, True, BFLOAT16)
TRANSPOSED = Convolution((91, 8, 34, 34), (3, 3), (91, 16, 32, 32), 1, True, BFLOAT16)
SOLID = Convolution((2, 4, 3, 4, 5), (3, 3, 3), (2, 5, 3, 4, 5), 1, True, BFLOAT16)
HUGE = Convolution((1024, 16, 32, 32), (3, 3), (1024, 32, 30, 30), 1, True, FLOAT32)


def most(one, what=FORWARD, kernels=H200):
    found = workspace(one, what, kernels)
    return None if found is None else found.num_bytes


def is_whole(one, what=FORWARD):
    return workspace(one, what, H200).is_whole


def test_a_product_of_many_rows_takes_copies_with_channels_last():
    """All rows together have a tile for each multiprocessor: nothing is split."""
    copies = 2 * (91 * 16 * 32 * 32 + 16 * 32 * 9 + 91 * 32 * 30 * 30)
    assert copies + PARTS_BYTES == most(MANY)


def test_channels_are_padded_to_sixteen_bytes():
    """Of four channels eight in 16 bits, and of five; four and eight in 32."""
    padded = replace(SOLID, inputs=(200, 4, 9, 9, 9), outputs=(200, 5, 9, 9, 9), is_dense=False)
    entries = 200 * 8 * 729 + 8 * 8 * 27 + 200 * 8 * 729
    assert 2 * entries + PARTS_BYTES == most(padded)
    entries = 200 * 4 * 729 + 4 * 8 * 27 + 200 * 8 * 729
    assert 4 * entries + PARTS_BYTES == most(replace(padded, dtype=FLOAT32))


def test_each_group_has_its_own_padding():
    one = Convolution((200, 6, 30, 30), (3, 3), (200, 2, 30, 30), 2, True, BFLOAT16)
    entries = 200 * 16 * 900 + 16 * 8 * 9 + 200 * 16 * 900
    assert 2 * entries + PARTS_BYTES == most(one)


def test_the_gradient_of_filters_has_a_partial_result_for_each_slice():
    """Four blocks for each of 132 multiprocessors, one tile of 256 by 128."""
    partial = 32 * 16 * 9 * 4
    assert most(MANY) + 4 * 132 * partial == most(MANY, OF_FILTER)
    slices = -(-900 // 16)
    copies = 2 * (16 * 32 * 32 + 16 * 32 * 9 + 32 * 30 * 30)
    assert copies + PARTS_BYTES + slices * partial == most(FEW, OF_FILTER)


def test_few_rows_may_be_split_along_the_filters():
    """Nine taps of 16 channels are as many instructions as slices; 900 rows are four tiles."""
    assert most(FEW, OF_FILTER) - 57 * 32 * 16 * 9 * 4 + 9 * 32 * 900 * 4 == most(FEW)
    slices = -(-32 * 9 // 16)
    assert most(FEW) - 9 * 32 * 900 * 4 + slices * 16 * 1024 * 4 == most(FEW, OF_INPUT)


def test_partial_results_are_no_more_than_registers_hold():
    deep = Convolution((1, 512, 16, 16), (3, 3), (1, 512, 16, 16), 1, False, BFLOAT16)
    copies = 2 * (512 * 256 + 512 * 512 * 9 + 512 * 256)
    assert copies + PARTS_BYTES + 132 * 256 * 1024 == most(deep, OF_FILTER)


def test_a_filter_of_one_entry_may_make_a_product_of_each_image():
    images = replace(ONE, inputs=(4096, *ONE.inputs[1:]), outputs=(4096, *ONE.outputs[1:]))
    assert most(images) + 4096 * 64 * 16 * 4 == most(images, OF_FILTER)
    assert most(ONE) + 4 * 132 * 64 * 16 * 4 == most(ONE, OF_FILTER)


def test_float32_may_be_transformed_where_nothing_is_strided():
    """A tile of four by four entries for two by two of the result, in every channel."""
    copies = 4 * (1024 * 16 * 1024 + 16 * 32 * 9 + 1024 * 32 * 900)
    winograd = 4 * (1024 * (16 + 32) * 900 * 4 + 16 * 32 * 36)
    assert copies + winograd == most(HUGE)
    assert copies + PARTS_BYTES == most(replace(HUGE, is_dense=False))
    half = replace(HUGE, dtype=torch.float16, inputs=(1024, 16, 8, 8), outputs=(1024, 32, 6, 6))
    strided, bfloat16 = replace(half, is_dense=False), replace(half, dtype=BFLOAT16)
    assert [most(half)] * 2 == [most(strided), most(bfloat16)]
    assert (False, True, True) == (is_whole(half), is_whole(strided), is_whole(bfloat16))


@pytest.mark.parametrize(
    ("window", "is_transformed"), [(3, True), (4, False), (5, True), (6, False)]
)
def test_winograds_transform_has_filters_of_three_and_of_five(window, is_transformed):
    """Of others Fourier's alone, which takes less where the result fits its tiles of 32."""
    size = 33 - window
    one = replace(HUGE, filters=(window, window), outputs=(1024, 32, size, size))
    made = (2 * -(-size // 2)) ** 2
    winograd = 4 * (1024 * (16 + 32) * made * 4 + 16 * 32 * (window + 3) ** 2)
    fourier = 2 * (1024 * (16 + 32) + 16 * 32) * 32 * 17 * 8
    copies = 4 * (1024 * 16 * 1024 + 16 * 32 * window**2 + 1024 * 32 * size**2)
    assert winograd > fourier
    assert copies + (winograd if is_transformed else fourier) == most(one)


def test_a_window_of_one_entry_is_not_transformed_along_its_dimension():
    """Each of 32 rows has a transform of 32 entries for itself."""
    one = replace(HUGE, filters=(1, 5), outputs=(1024, 32, 32, 28))
    transformed = 2 * (1024 * (16 + 32) * 32 + 16 * 32) * 17 * 8
    copies = 4 * (1024 * 16 * 1024 + 16 * 32 * 5 + 1024 * 32 * 32 * 28)
    assert copies + transformed == most(one)


def test_tiles_of_a_fourier_transform_cover_the_result():
    """One dimension: tiles of 32, 28 of which are the result's; twice the transformed operands."""
    one = replace(LINE, dtype=FLOAT32)
    tiles = -(-1048572 // 28)
    transformed = 2 * ((16 + 32) * tiles + 16 * 32) * 17 * 8
    copies = 4 * (16 * 1048576 + 16 * 32 * 5 + 32 * 1048572)
    assert copies + transformed == most(one)
    long = replace(one, filters=(33,), inputs=(1, 16, 1048604))
    assert most(long) == most(replace(long, is_dense=False))


@pytest.mark.parametrize(
    "one",
    [
        replace(FEW, dtype=FLOAT32, inputs=(1, 512, 9, 9), outputs=(1, 512, 7, 7)),
        replace(TRANSPOSED, dtype=FLOAT32),
    ],
    ids=["filters that outgrow images", "many tiles for small images"],
)
def test_transforms_that_would_take_so_much_that_it_says_nothing_stay_a_name(one):
    """Beside the bound of a product, which is there."""
    strided = replace(one, is_dense=False)
    assert (most(strided), False, True) == (most(one), is_whole(one), is_whole(strided))


def test_the_bound_of_a_transform_is_kept_up_to_six_times_the_operands():
    """In 16 bits as well as in 32, where there are few filters for what is transformed."""
    sizes = [(size, is_whole(replace(
        HUGE, inputs=(4, 16, size + 2, size + 2), outputs=(4, 32, size, size)
    ))) for size in range(4, 60)]  # fmt: skip
    assert {True, False} == {is_it for _, is_it in sizes}
    assert (False, True) == (sizes[0][1], sizes[-1][1])


def test_doubles_have_no_bound():
    assert most(replace(MANY, dtype=torch.float64)) is None


def test_other_devices_have_no_bound():
    assert most(MANY, kernels=MI300X) is None
    assert most(MANY, kernels=replace(H200, arch="sm_80")) is None


@pytest.mark.parametrize(
    ("one", "what", "taken_bytes"),
    [
        (FEW, FORWARD, 99_600),
        (FEW, OF_INPUT, 99_600),
        (MANY, FORWARD, 8_232_720),
        (MANY, OF_FILTER, 8_656_784),
        (LINE, FORWARD, 100_668_176),
        (LINE, OF_FILTER, 101_881_051),
        (replace(LINE, dtype=FLOAT32), OF_FILTER, 202_104_464),
        (replace(MANY, dtype=FLOAT32), OF_FILTER, 16_834_192),
        (HUGE, OF_FILTER, 545_783_808),
        (ONE, OF_FILTER, 373_008),
        (replace(TRANSPOSED, dtype=FLOAT32), OF_INPUT, 9_334_672),
        (TRANSPOSED, OF_INPUT, 4_667_344),
        (TRANSPOSED, OF_FILTER, 6_470_223),
        (SOLID, FORWARD, 7_312),
        (SOLID, OF_FILTER, 40_255),
    ],
)
def test_neither_gpu_took_more(one, what, taken_bytes):
    """The measured peak less what torch itself holds there, the same on both.

    Source: docs/evidence/2026-11-27-h200-conformance.json.gz and -h100-conformance.json.gz.
    """
    assert taken_bytes <= most(one, what)
