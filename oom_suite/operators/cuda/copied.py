"""CUDA's kernels that make arguments contiguous first, and which arguments those are.

A gradient that a sum spreads out has strides of 0: every such kernel copies it in full.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/``: ``AveragePool2d.cu``, ``AveragePool3d.cu``,
``AdaptiveAveragePooling.cu``, ``AdaptiveAveragePooling3d.cu``, ``AdaptiveMaxPooling2d.cu``,
``AdaptiveMaxPooling3d.cu``, ``DilatedMaxPool2d.cu``, ``DilatedMaxPool3d.cu``,
``ReflectionPad.cu``, ``UpSampleNearest1d.cu``, ``UpSampleNearest2d.cu``,
``UpSampleNearest3d.cu``, ``UpSampleBilinear2d.cu``, ``UpSampleTrilinear3d.cu``, ``SoftMax.cu``
(``host_softmax_backward``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from oom_suite.operators.kernels import num_bytes
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step

    Formula = Callable[[Call], Iterable[Step] | None]

_FEW_CHANNELS = 4
_INDICES = 7
"""The place of the indices in the gradients of max pooling."""


def suggested_format(tensor: torch.Tensor) -> torch.memory_format:
    """The order in which a kernel that takes both goes through images: rows, or channels last."""
    lasts = {4: torch.channels_last, 5: torch.channels_last_3d}
    last = lasts.get(tensor.dim())
    if last is None or tensor.is_contiguous() or not tensor.is_contiguous(memory_format=last):
        return torch.contiguous_format
    return last


def _is_in(tensor: torch.Tensor, order: torch.memory_format) -> bool:
    return tensor.is_contiguous(memory_format=order)


def _with_copies(call: Call, order: torch.memory_format, *places: int) -> Iterator[Step]:
    """The results, and a copy of each of these arguments that does not lie in that order."""
    copied = [place for place in places if not _is_in(call.args[place], order)]
    yield from call.results()
    for place in copied:
        yield Take(f"contiguous {place}", num_bytes(call.args[place]), call.op)
    for place in reversed(copied):
        yield Give(f"contiguous {place}")


def _rows(*places: int) -> Formula:
    """These arguments are made contiguous."""
    return lambda call: _with_copies(call, torch.contiguous_format, *places)


def _rows_of_batches(num_dims: int, *places: int) -> Formula:
    """They are where there is a batch; without one the kernel goes by strides."""
    return lambda call: _with_copies(
        call, torch.contiguous_format, *(places if call.input.dim() == num_dims else ())
    )


def _as(reference: int, *places: int) -> Formula:
    """These arguments are made to lie in the order of one of them."""
    return lambda call: _with_copies(call, suggested_format(call.args[reference]), *places)


def _mean_of_regions_backward(call: Call) -> Iterable[Step]:
    """Adaptive average pooling: with channels last the kernel goes by strides."""
    is_plain = suggested_format(call.args[1]) is torch.contiguous_format
    return _with_copies(call, torch.contiguous_format, *((0,) if is_plain else ()))


def _resampled_backward(call: Call) -> Iterable[Step]:
    """Nothing is resampled where both sizes are the same: the gradient is copied into place."""
    grad, result = call.input, call.result
    is_same = isinstance(result, torch.Tensor) and grad.shape == result.shape
    order = suggested_format(grad)
    if grad.dim() > 1 and grad.shape[1] < _FEW_CHANNELS:
        order = torch.contiguous_format
    return _with_copies(call, order, *(() if is_same else (0,)))


def _in_rows(call: Call) -> Iterator[Step]:
    """The first argument is made contiguous, and so is a result that is not, to be copied then."""
    given, result = call.input, call.result
    yield from call.results()
    is_made = isinstance(result, torch.Tensor) and not result.is_contiguous()
    if is_made:
        yield Take("in rows", num_bytes(result), call.op)
    if not given.is_contiguous():
        yield Take("contiguous 0", num_bytes(given), call.op)
        yield Give("contiguous 0")
    if is_made:
        yield Give("in rows")


def _nearest_2d(call: Call) -> Iterable[Step]:
    """Copied into place to the same size; with few channels the kernel goes by rows alone."""
    given, result = call.input, call.result
    if isinstance(result, torch.Tensor) and given.shape == result.shape:
        return call.results()
    if given.dim() > 1 and given.shape[1] < _FEW_CHANNELS:
        return _in_rows(call)
    return _with_copies(call, suggested_format(given), 0)


FORMULAS: dict[str, Formula] = {
    "aten::_log_softmax_backward_data": _rows(0, 1),
    "aten::reflection_pad1d": _rows(0),
    "aten::reflection_pad1d_backward": _rows(0),
    "aten::reflection_pad2d": _rows(0),
    "aten::reflection_pad2d_backward": _rows(0),
    "aten::avg_pool2d": _as(0, 0),
    "aten::avg_pool2d_backward": _as(1, 0, 1),
    "aten::avg_pool3d": _rows(0),
    "aten::avg_pool3d_backward": _rows(0),
    "aten::_adaptive_avg_pool2d": _as(0, 0),
    "aten::_adaptive_avg_pool2d_backward": _mean_of_regions_backward,
    "aten::_adaptive_avg_pool3d": _rows_of_batches(5, 0),
    "aten::_adaptive_avg_pool3d_backward": _rows(0),
    "aten::adaptive_max_pool2d": _rows_of_batches(4, 0),
    "aten::adaptive_max_pool2d_backward": _rows(0, 2),
    "aten::adaptive_max_pool3d": _rows_of_batches(5, 0),
    "aten::adaptive_max_pool3d_backward": _rows(0, 2),
    "aten::max_pool2d_with_indices": _as(0, 0),
    "aten::max_pool2d_with_indices_backward": _as(1, 0, 1, _INDICES),
    "aten::max_pool3d_with_indices": _as(0, 0),
    "aten::max_pool3d_with_indices_backward": _as(1, 0, _INDICES),
    "aten::upsample_nearest1d": _rows(0),
    "aten::upsample_nearest1d_backward": _rows(0),
    "aten::_upsample_nearest_exact1d": _rows(0),
    "aten::_upsample_nearest_exact1d_backward": _rows(0),
    "aten::upsample_nearest2d": _nearest_2d,
    "aten::upsample_nearest2d_backward": _nearest_2d,
    "aten::_upsample_nearest_exact2d": _nearest_2d,
    "aten::_upsample_nearest_exact2d_backward": _nearest_2d,
    "aten::upsample_nearest3d": _in_rows,
    "aten::upsample_nearest3d_backward": _in_rows,
    "aten::_upsample_nearest_exact3d": _in_rows,
    "aten::_upsample_nearest_exact3d_backward": _in_rows,
    "aten::upsample_bilinear2d_backward": _resampled_backward,
    "aten::upsample_trilinear3d_backward": _rows(0),
}
"""By operator: what it makes contiguous, beside its results."""
