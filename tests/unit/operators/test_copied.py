"""Which arguments CUDA's kernels make contiguous: none that lie as the kernel goes through them."""

from __future__ import annotations

import pytest
import torch
from kernel_steps import floats, places, steps

IMAGES = floats(2, 8, 6, 6)
LAST = IMAGES.contiguous(memory_format=torch.channels_last)
POOLED = floats(2, 8, 3, 3)
POOLED_LAST = POOLED.contiguous(memory_format=torch.channels_last)
FOUND = places(2, 8, 3, 3)
SPREAD = floats(1).expand(2, 8, 3, 3)
VOLUME, POOLED_VOLUME = floats(1, 2, 4, 4, 4), floats(1, 2, 2, 2, 2)
SPREAD_VOLUME = floats(1).expand(1, 2, 2, 2, 2)
ROWS = floats(4, 10)
SPREAD_ROWS = floats(1).expand(4, 10)
KERNEL = ([2, 2], [2, 2], [0, 0])

ALL = "+2304:0"
COPIED = "+2304:0 +576:contiguous_0 -contiguous_0"
"""A result of 2,304 bytes, and a gradient of 576."""


def new(tensor):
    return torch.empty_like(tensor)


def pooled_backward(grad, images, found=FOUND):
    return steps(
        "max_pool2d_with_indices_backward",
        *(grad, images, *KERNEL, [1, 1], False, found),
        result=new(images),
    )


CALLS = {
    "log_softmax, spread out": (
        lambda: steps("_log_softmax_backward_data", SPREAD_ROWS, ROWS, 1, result=new(ROWS)),
        "+160:0 +160:contiguous_0 -contiguous_0",
    ),
    "log_softmax": (
        lambda: steps("_log_softmax_backward_data", ROWS, ROWS, 1, result=new(ROWS)),
        "+160:0",
    ),
    "log_softmax of columns copies what came out": (
        lambda: steps("_log_softmax_backward_data", ROWS, floats(10, 4).t(), 1, result=new(ROWS)),
        "+160:0 +160:contiguous_1 -contiguous_1",
    ),
    "max_pool2d, spread out": (lambda: pooled_backward(SPREAD, IMAGES), COPIED),
    "max_pool2d": (lambda: pooled_backward(POOLED, IMAGES), ALL),
    "max_pool2d, channels last": (
        lambda: pooled_backward(POOLED_LAST, LAST, FOUND.to(memory_format=torch.channels_last)),
        ALL,
    ),
    "max_pool2d, its gradient in rows": (
        lambda: pooled_backward(POOLED, LAST, FOUND.to(memory_format=torch.channels_last)),
        COPIED,
    ),
    "avg_pool2d, spread out": (
        lambda: steps("avg_pool2d_backward", SPREAD, IMAGES, *KERNEL, result=new(IMAGES)),
        COPIED,
    ),
    "avg_pool2d": (
        lambda: steps("avg_pool2d_backward", POOLED, IMAGES, *KERNEL, result=new(IMAGES)),
        ALL,
    ),
    "avg_pool2d, forward, of every second row": (
        lambda: steps("avg_pool2d", floats(2, 8, 12, 6)[:, :, ::2], *KERNEL, result=new(POOLED)),
        "+576:0 +2304:contiguous_0 -contiguous_0",
    ),
    "avg_pool2d, forward, channels last": (
        lambda: steps("avg_pool2d", LAST, *KERNEL, result=new(POOLED)),
        "+576:0",
    ),
    "avg_pool3d, spread out": (
        lambda: steps("avg_pool3d_backward", SPREAD_VOLUME, VOLUME, [2], result=new(VOLUME)),
        "+512:0 +64:contiguous_0 -contiguous_0",
    ),
    "adaptive_avg_pool2d, spread out": (
        lambda: steps("_adaptive_avg_pool2d_backward", SPREAD, IMAGES, result=new(IMAGES)),
        COPIED,
    ),
    "adaptive_avg_pool2d, channels last goes by strides": (
        lambda: steps("_adaptive_avg_pool2d_backward", SPREAD, LAST, result=new(LAST)),
        ALL,
    ),
    "adaptive_max_pool2d without a batch goes by strides": (
        lambda: steps(
            "adaptive_max_pool2d",
            *(floats(8, 12, 6)[:, ::2], [3, 3]),
            result=(floats(8, 3, 3), places(8, 3, 3)),
        ),
        "+288:0 +576:1",
    ),
    "adaptive_max_pool2d with one does not": (
        lambda: steps(
            "adaptive_max_pool2d",
            *(floats(1, 8, 12, 6)[:, :, ::2], [3, 3]),
            result=(floats(1, 8, 3, 3), places(1, 8, 3, 3)),
        ),
        "+288:0 +576:1 +1152:contiguous_0 -contiguous_0",
    ),
    "adaptive_max_pool3d with a batch copies its input": (
        lambda: steps(
            "adaptive_max_pool3d",
            *(floats(1, 2, 4, 8, 4)[:, :, :, ::2], [2, 2, 2]),
            result=(POOLED_VOLUME, places(1, 2, 2, 2, 2)),
        ),
        "+64:0 +128:1 +512:contiguous_0 -contiguous_0",
    ),
    "max_pool3d, spread out": (
        lambda: steps(
            "max_pool3d_with_indices_backward",
            *(SPREAD_VOLUME, VOLUME, [2], [2], [0], [1], False, POOLED_VOLUME.long()),
            result=new(VOLUME),
        ),
        "+512:0 +64:contiguous_0 -contiguous_0",
    ),
    "reflection_pad2d, spread out": (
        lambda: steps("reflection_pad2d_backward", SPREAD, POOLED, [1] * 4, result=new(POOLED)),
        "+576:0 +576:contiguous_0 -contiguous_0",
    ),
    "bilinear, spread out": (
        lambda: steps("upsample_bilinear2d_backward", SPREAD, [3, 3], [], True, result=new(IMAGES)),
        COPIED,
    ),
    "bilinear, channels last": (
        lambda: steps(
            "upsample_bilinear2d_backward", POOLED_LAST, [3, 3], [], True, result=new(LAST)
        ),
        ALL,
    ),
    "bilinear of 3 channels, channels last": (
        lambda: steps(
            "upsample_bilinear2d_backward",
            *(POOLED_LAST[:, :3].contiguous(memory_format=torch.channels_last), [3, 3], [], True),
            result=floats(2, 3, 6, 6),
        ),
        "+864:0 +216:contiguous_0 -contiguous_0",
    ),
    "nearest of 3 channels goes by rows": (
        lambda: steps(
            "upsample_nearest2d",
            *(POOLED_LAST[:, :3].contiguous(memory_format=torch.channels_last), [6, 6]),
            result=floats(2, 3, 6, 6).contiguous(memory_format=torch.channels_last),
        ),
        "+864:0 +864:in_rows +216:contiguous_0 -contiguous_0 -in_rows",
    ),
    "nearest of 3 channels in rows takes nothing": (
        lambda: steps("upsample_nearest2d", floats(2, 3, 3, 3), [6, 6], result=floats(2, 3, 6, 6)),
        "+864:0",
    ),
    "nearest of 4 channels takes channels last as they are": (
        lambda: steps(
            "upsample_nearest2d",
            *(POOLED_LAST[:, :4].contiguous(memory_format=torch.channels_last), [6, 6]),
            result=floats(2, 4, 6, 6).contiguous(memory_format=torch.channels_last),
        ),
        "+1152:0",
    ),
    "nearest to the same size, forward": (
        lambda: steps("upsample_nearest2d", SPREAD, [3, 3], result=new(POOLED)),
        "+576:0",
    ),
    "nearest to the same size copies into place": (
        lambda: steps("upsample_nearest2d_backward", SPREAD, [3, 3], [], result=new(POOLED)),
        "+576:0",
    ),
}


@pytest.mark.parametrize(("taken", "expected"), CALLS.values(), ids=CALLS)
def test_a_kernel_copies_what_does_not_lie_as_it_goes_through_it(taken, expected):
    assert expected == taken()


IN_ROWS = [
    *("reflection_pad1d", "reflection_pad1d_backward"),
    *("reflection_pad2d", "reflection_pad2d_backward"),
    *("avg_pool3d", "avg_pool3d_backward", "_adaptive_avg_pool3d_backward"),
    *("upsample_nearest1d", "upsample_nearest1d_backward"),
    *("_upsample_nearest_exact1d", "_upsample_nearest_exact1d_backward"),
    *("upsample_nearest3d", "upsample_nearest3d_backward"),
    *("_upsample_nearest_exact3d", "_upsample_nearest_exact3d_backward"),
    "upsample_trilinear3d_backward",
]
IN_EITHER_ORDER = [
    *("avg_pool2d", "_adaptive_avg_pool2d", "max_pool2d_with_indices", "max_pool3d_with_indices"),
    *("upsample_nearest2d", "_upsample_nearest_exact2d"),
]


def first_copied(name, last=False):
    """What a kernel takes whose first argument lies in neither order, or has its channels last."""
    num_dims = next(int(digit) for digit in name if digit.isdigit())
    given = floats(2, 8, *[4] * (num_dims - 1), 8)
    given = given.movedim(1, -1).contiguous().movedim(-1, 1) if last else given[..., ::2]
    taken = steps(name, given, result=floats(1))
    num_bytes = given.numel() * 4
    return taken.replace(f" +{num_bytes}:contiguous_0 -contiguous_0", " copied")


@pytest.mark.parametrize("name", [*IN_ROWS, *IN_EITHER_ORDER])
def test_what_lies_in_no_order_is_copied(name):
    assert "+4:0 copied" == first_copied(name)


@pytest.mark.parametrize("name", [*IN_ROWS, *IN_EITHER_ORDER])
def test_kernels_of_either_order_take_channels_last_as_they_are(name):
    """Those that go through rows alone copy them."""
    copied = "+4:0 copied" if name in IN_ROWS else "+4:0"
    assert copied == first_copied(name, last=True)


def spread(*sizes):
    return floats(1).expand(*sizes)


MATRIX, COLUMNS, GAPS = floats(3, 4), floats(4, 3).t(), floats(3, 8)[:, :4]
OVERLAP = floats(9).as_strided((3, 4), (2, 1))
ONE = "+60:0 +48:operand_0 -operand_0"
RIGHT = floats(4, 5)

PRODUCTS = {
    "rows": (lambda: steps("mm", MATRIX, RIGHT, result=floats(3, 5)), "+60:0"),
    "columns": (lambda: steps("mm", COLUMNS, RIGHT, result=floats(3, 5)), "+60:0"),
    "rows with gaps": (lambda: steps("mm", GAPS, RIGHT, result=floats(3, 5)), "+60:0"),
    "columns with gaps": (
        lambda: steps("mm", floats(4, 8)[:, :3].t(), RIGHT, result=floats(3, 5)),
        "+60:0",
    ),
    "every second entry": (
        lambda: steps("mm", floats(3, 8)[:, ::2], RIGHT, result=floats(3, 5)),
        ONE,
    ),
    "rows that overlap": (lambda: steps("mm", OVERLAP, RIGHT, result=floats(3, 5)), ONE),
    "spread out": (lambda: steps("mm", spread(3, 4), RIGHT, result=floats(3, 5)), ONE),
    "one row, spread out over nothing": (
        lambda: steps("mm", floats(1, 4).expand(1, 4), RIGHT, result=floats(1, 5)),
        "+20:0",
    ),
    "both spread out": (
        lambda: steps("addmm", floats(5), spread(3, 4), spread(4, 5), result=floats(3, 5)),
        "+60:0 +48:operand_0 +80:operand_1 -operand_1 -operand_0",
    ),
    "nothing of nothing": (
        lambda: steps("mm", spread(3, 0), floats(0, 5), result=floats(3, 5)),
        "+60:0",
    ),
    "batches spread out over batches": (
        lambda: steps("bmm", MATRIX.expand(2, 3, 4), RIGHT.expand(2, 4, 5), result=floats(2, 3, 5)),
        "+120:0",
    ),
    "batches spread out": (
        lambda: steps("bmm", spread(2, 3, 4), floats(2, 4, 5), result=floats(2, 3, 5)),
        "+120:0 +96:operand_0 -operand_0",
    ),
    "batches of columns": (
        lambda: steps("bmm", floats(2, 4, 3).mT, floats(2, 5, 4).mT, result=floats(2, 3, 5)),
        "+120:0",
    ),
    "a product that is a column": (
        lambda: steps("bmm", floats(2, 3, 4), spread(2, 4, 1), result=floats(2, 3, 1)),
        "+24:0 +32:operand_0 -operand_0",
    ),
    "a vector with steps": (
        lambda: steps("mv", MATRIX, floats(8)[::2], result=floats(3)),
        "+12:0",
    ),
    "columns with gaps, and a vector": (
        lambda: steps("mv", floats(4, 8)[:, :3].t(), floats(4), result=floats(3)),
        "+12:0",
    ),
    "rows with gaps, and a vector": (
        lambda: steps("mv", GAPS, floats(4), result=floats(3)),
        "+12:0",
    ),
    "every second entry, and a vector": (
        lambda: steps("mv", floats(3, 8)[:, ::2], floats(4), result=floats(3)),
        "+12:0 +48:operand_0 -operand_0",
    ),
    "a vector spread out": (
        lambda: steps("mv", MATRIX, spread(4), result=floats(3)),
        "+12:0 +16:operand_0 -operand_0",
    ),
    "a matrix spread out, and a vector": (
        lambda: steps("addmv", floats(3), spread(3, 4), floats(4), result=floats(3)),
        "+12:0 +48:operand_0 -operand_0",
    ),
}


@pytest.mark.parametrize(("taken", "expected"), PRODUCTS.values(), ids=PRODUCTS)
def test_a_product_copies_operands_that_cublas_cannot_be_given(taken, expected):
    assert expected == taken()
