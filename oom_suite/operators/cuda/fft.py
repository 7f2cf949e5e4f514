"""Fourier transforms on CUDA: copies of the input, a result for every few dimensions.

The plan's work area is a bound: cuFFT takes none for most short transforms. Its documentation says
that it is at most eight times what is transformed, as complex numbers, and may be as little as once
that. Sizes whose prime factors are 2, 3, 5 and 7 have kernels for those (Cooley-Tukey), which read
one buffer and write another: once is what is between two of them. The others are transformed as a
convolution of a longer length (Bluestein), which the eightfold is for.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/SpectralOps.cpp`` (``_exec_fft``,
``_fft_r2c_cufft``, ``_fft_c2r_cufft``, ``_fft_c2c_cufft``), ``cuda/CuFFTPlanCache.h``
(``as_cufft_embed``, ``CuFFTConfig``); cuFFT's documentation (CUDA 13), "Introduction" and "Accuracy
and Performance" for the algorithms, ``cufftPlanMany`` and "Free Memory Requirement" for the area.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from oom_suite.operators.operands import tensors
from oom_suite.operators.steps import Give, Take
from oom_suite.records.libraries import CUFFT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step

_MOST_DIMS = 3
"""Dimensions that cuFFT transforms at once."""

_RADICES = (2, 3, 5, 7)
_LONGER = 8
"""How many times what is transformed the work area of other sizes has, at most."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Sizes and strides of what is transformed.

    Attributes:
        sizes: of each dimension.
        strides: in entries.
        entry_bytes: of one entry.
        is_complex: whether its entries are complex.
        is_half: whether numbers have 16 bits.
    """

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    entry_bytes: int
    is_complex: bool
    is_half: bool

    @property
    def num_bytes(self) -> int:
        """Of its entries, one after the other."""
        return math.prod(self.sizes) * self.entry_bytes


def _layout(tensor: torch.Tensor) -> _Layout:
    is_half = tensor.dtype in {torch.float16, torch.complex32}
    shape, stride = tuple(tensor.shape), tuple(tensor.stride())
    return _Layout(shape, stride, tensor.element_size(), tensor.is_complex(), is_half)


def _side_by_side(source: _Layout, sizes: Sequence[int]) -> _Layout:
    strides = [1] * len(sizes)
    for dim in range(len(sizes) - 2, -1, -1):
        strides[dim] = strides[dim + 1] * max(1, sizes[dim + 1])
    other = (source.entry_bytes, source.is_complex, source.is_half)
    return _Layout(tuple(sizes), tuple(strides), *other)


def _executed(
    op: str, source: _Layout, shape: Sequence[int], dims: Sequence[int], entry_bytes: int
) -> tuple[list[Step], _Layout]:
    """Copies for one transform, and its result, which is there before.

    Args:
        op: who asks.
        source: what is transformed.
        shape: of the result.
        dims: that are transformed, the last one halved where one side is real.
        entry_bytes: of an entry of the result.
    """
    batch = [dim for dim in range(len(source.sizes)) if dim not in dims]
    batch.sort(key=lambda dim: -source.strides[dim])
    signal = [source.sizes[dim] for dim in dims]
    strides = [_batch_stride(source, batch), *(source.strides[dim] for dim in dims)]
    copied = strides[0] is None
    flat = _side_by_side(source, [math.prod(source.sizes[dim] for dim in batch), *signal])
    whole = [max(size, shape[dim]) for size, dim in zip(signal, dims, strict=True)]
    sizes, given = [flat.sizes[0], *whole], flat.strides if copied else strides
    is_cloned = source.is_half and given[-1] != 1
    is_cloned = is_cloned or not _can_be_embedded(given, sizes)
    names = [name for name, is_made in (("in rows", copied), ("clone", is_cloned)) if is_made]
    steps: list[Step] = [Take(name, source.num_bytes, op) for name in names]
    if copied and is_cloned:
        # The clone takes the place of what it was made of.
        steps.append(Give(names.pop(0)))
    steps += [Take("work area", _work_area(source, sizes), CUFFT, is_bound=True), Give("work area")]
    steps += [Give(name) for name in names]
    return steps, _restrided(source, shape, batch, dims, entry_bytes)


def _work_area(source: _Layout, sizes: Sequence[int]) -> int:
    """At most, for as many transforms of such sizes."""
    complex_bytes = source.entry_bytes * (1 if source.is_complex else 2)
    once = math.prod(sizes) * complex_bytes
    return once if all(_is_smooth(size) for size in sizes[1:]) else _LONGER * once


def _is_smooth(size: int) -> bool:
    for radix in _RADICES:
        while size and size % radix == 0:
            size //= radix
    return size == 1


def _batch_stride(source: _Layout, batch: Sequence[int]) -> int | None:
    """The stride of the other dimensions as one; None where they have none."""
    kept = [dim for dim in batch if source.sizes[dim] != 1]
    for outer, inner in itertools.pairwise(kept):
        if source.strides[outer] != source.strides[inner] * source.sizes[inner]:
            return None
    return source.strides[kept[-1]] if kept else 1


def _can_be_embedded(strides: Sequence[int | None], sizes: Sequence[int]) -> bool:
    """Whether each stride is a multiple of the next one's."""
    last = strides[-1] or 0
    if last <= 0 or (sizes[0] != 1 and strides[0] == 0):
        return False
    for size, stride in zip(sizes[-2:0:-1], strides[-2:0:-1], strict=True):
        if size == 1:
            continue
        if not stride or stride < 0 or stride % last:
            return False
        last = stride
    return True


def _restrided(
    source: _Layout, shape: Sequence[int], batch: Sequence[int], dims: Sequence[int], width: int
) -> _Layout:
    """The result: the other dimensions first, in the order of the source's strides."""
    order = [*batch, *dims]
    row = _side_by_side(source, [shape[dim] for dim in order])
    strides = [0] * len(order)
    for place, dim in enumerate(order):
        strides[dim] = row.strides[place]
    return _Layout(tuple(shape), tuple(strides), width, is_complex=True, is_half=source.is_half)


def _by_stride(layout: _Layout, dims: Sequence[int]) -> list[int]:
    return sorted(dims, key=lambda dim: -layout.strides[dim])


def _of_complex(
    op: str, source: _Layout, dims: Sequence[int], result: str | int
) -> tuple[list[Step], _Layout]:
    """Up to three dimensions at once, each time from one buffer into another."""
    made, width = Take(result, source.num_bytes, op), source.entry_bytes
    left = _by_stride(source, dims)
    inside, working = _executed(op, source, source.sizes, left[-_MOST_DIMS:], width)
    left = left[:-_MOST_DIMS]
    if not left:
        return [made, *inside], working
    rest, working = _executed(op, working, source.sizes, _by_stride(working, left), width)
    first = Take("first", source.num_bytes, op)
    return [first, *inside, made, *rest, Give("first")], working


def _c2c(call: Call) -> Iterable[Step] | None:
    dims = list(call.argument(1, "dim"))
    if not _is_known(call) or len(dims) > 2 * _MOST_DIMS:
        return None
    if not dims:
        return list(call.results())
    return _of_complex(call.op, _layout(call.input), dims, 0)[0]


def _c2r(call: Call) -> Iterable[Step] | None:
    dims = list(call.argument(1, "dim"))
    if not _is_known(call) or len(dims) > 2 * _MOST_DIMS:
        return None
    source, result = _layout(call.input), next(tensors(call.result))
    steps: list[Step] = [*call.results()]
    if _are_at_once(dims):
        # cuFFT may write to what it reads.
        steps.append(Take("clone of all", source.num_bytes, call.op))
        working, last = _side_by_side(source, source.sizes), dims
    else:
        inside, working = _of_complex(call.op, source, dims[:-1], "clone of all")
        steps, last = [*steps, *inside], dims[-1:]
    inside, _ = _executed(call.op, working, result.shape, last, result.element_size())
    return [*steps, *inside, Give("clone of all")]


def _r2c(call: Call) -> Iterable[Step] | None:
    dims = list(call.argument(1, "dim"))
    source, result = call.input, next(tensors(call.result))
    if not _is_known(call) or len(dims) > 1 + _MOST_DIMS:
        return None
    working = _layout(source)
    half = list(working.sizes)
    half[dims[-1]] = half[dims[-1]] // 2 + 1
    width, op = result.element_size(), call.op
    # Real numbers are read in pairs.
    is_odd = source.storage_offset() % 2 == 1
    copy: list[Step] = [Take("aligned", working.num_bytes, op)] if is_odd else []
    gives: list[Step] = [Give("aligned")] if is_odd else []
    if is_odd:
        working = _aligned(working, dims[-1])
    if _are_at_once(dims):
        inside, _ = _executed(op, working, half, dims, width)
        return [*call.results(), *copy, *inside, *gives]
    inside, working = _executed(op, working, half, dims[-1:], width)
    num_bytes = result.numel() * width
    # In full it is copied back into the buffer of the first of them.
    is_whole = not call.argument(3, "onesided", default=True) and half != list(result.shape)
    names: list[str | int] = [0, "other"] if is_whole else ["other", 0]
    rest, _ = _executed(op, working, half, _by_stride(working, dims[:-1]), width)
    first, second = (Take(name, num_bytes, op) for name in names)
    return [first, *copy, *inside, *gives, second, *rest, Give("other")]


def _aligned(source: _Layout, last: int) -> _Layout:
    order = [*(dim for dim in range(len(source.sizes)) if dim != last), last]
    found = _restrided(source, source.sizes, order[:-1], order[-1:], source.entry_bytes)
    return replace(found, is_complex=source.is_complex)


def _are_at_once(dims: Sequence[int]) -> bool:
    return len(dims) <= _MOST_DIMS and list(dims[:2]) != [0, 1]


def _is_known(call: Call) -> bool:
    """Whether it is cuFFT that transforms, in a type that it reads as it is."""
    return call.kernels.backend == "cuda" and call.input.dtype is not torch.bfloat16


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::_fft_c2c": _c2c,
    "aten::_fft_c2r": _c2r,
    "aten::_fft_r2c": _r2c,
}
