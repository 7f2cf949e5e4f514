"""What cuDNN takes for a convolution at most, by the algorithms that its documentation names.

cuDNN is closed, and states no limit. What it does is documented, and says what there is to keep:

- products on tensor cores read channels last, and channels in vectors of 16 bytes: where tensors
  lie otherwise, cuDNN copies all three, channels padded;
- a reduction that is split keeps a partial result in float32 for each slice, until they are added:
  at most as many as multiprocessors hold at once, and no slice is shorter than one instruction;
- a filter of one entry makes a product of each image, whose gradients of the filter are added;
- Fourier transforms and Winograd's, for float32 and float16 without strides and dilations, keep
  the transformed operands.

The explicit product, which is documented too and keeps the whole matrix of windows, is not counted:
neither an H200 nor an H100 took it, nor a transform in bfloat16, in any call of the lists. A call
that does is above this bound, and `oom-suite conformance` says so.

torch tries one engine after the other: a workspace that cannot be had ends no process, where a
later engine needs less.

Source: PyTorch 2.11 and 2.13 ``aten/src/ATen/native/cudnn/Conv_v8.cpp`` (``run_single_conv``,
``try_configs``: the first engine of cuDNN's heuristics, then the others, then its fallback list,
each left for the next one on an out-of-memory error; with ``benchmark`` those whose workspace
exceeds the largest free block are left out). NVIDIA's "Convolutional Layers User's Guide", "Tensor
Layouts In Memory"; "Tensor Ops Made Easier in cuDNN" (padding of channels); cuDNN's Developer Guide
and API reference (``cudnnConvolutionFwdAlgo_t`` and those of the backward passes); CUTLASS,
"Efficient GEMM", "Parallelized Reductions"; CUDA Programming Guide, compute capability 9.0 (64 Ki
registers of 32 bits on a multiprocessor).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from oom_suite.operators.kernels import ceil_div

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oom_suite.operators.kernels import Kernels

FORWARD, OF_INPUT, OF_FILTER = "forward", "of input", "of filter"
"""What is computed: the result, or the gradient of one operand."""

_VECTOR_BYTES = 16
_PART_BYTES = 256
"""For where each of a few parts begins."""

_REGISTER_BYTES = 64 * 1024 * 4
_BLOCKS = 4
"""Of 128 threads with 128 registers each, which a multiprocessor has no room for more of."""

_LARGEST_TILE = (256, 128)
_INSTRUCTION_BYTES = 32
"""Of a row that one instruction of a tensor core adds up."""

_FLOAT_BYTES = 4
_COMPLEX_BYTES = 8
_FOURIER_TILE = {1: 32, 2: 32, 3: 16}
_WIDEST_FILTER = 32
_WINOGRAD_FILTERS = (3, 5)
_WINOGRAD_TILES = 4
"""Entries of a transformed operand for each entry of the result, in two dimensions."""

_USEFUL = 6
"""Times the operands: what transforms may take beyond that is a name, and no bound."""

_WITH_TRANSFORMS = frozenset({torch.float32, torch.float16})
_KNOWN = frozenset({torch.float32, torch.float16, torch.bfloat16})


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution that cuDNN computes.

    Attributes:
        inputs: sizes of what the filter reads, [batch, channels, ...].
        filters: sizes of one filter's window.
        outputs: sizes of what it writes, [batch, channels, ...].
        groups: of channels.
        is_dense: whether all strides and dilations are 1.
        dtype: of all three.
    """

    inputs: Sequence[int]
    filters: Sequence[int]
    outputs: Sequence[int]
    groups: int
    is_dense: bool
    dtype: torch.dtype

    @property
    def is_pointwise(self) -> bool:
        """Whether a filter looks at one entry of each channel."""
        return math.prod(self.filters) == 1

    def channels(self, sizes: Sequence[int], multiple: int = 1) -> int:
        """Of all groups, those of each padded."""
        return self.groups * ceil_div(sizes[1] // self.groups, multiple) * multiple


@dataclass(frozen=True, slots=True)
class Workspace:
    """What cuDNN takes for one convolution.

    Attributes:
        num_bytes: at most, by a product; and by transforms, where they are `is_whole`.
        is_whole: whether it is the most of all that is documented. Transforms of many filters for
            small images would take so much that it says nothing: they stay a name beside it.
    """

    num_bytes: int
    is_whole: bool = True


def workspace(one: Convolution, what: str, kernels: Kernels) -> Workspace | None:
    """At most; None for types and devices that nobody has looked at."""
    if one.dtype not in _KNOWN or kernels.arch != "sm_90":
        return None
    copies = _copies(one)
    most = sum(copies) + len(copies) * _PART_BYTES + _partial_results(one, what, kernels)
    if one.dtype not in _WITH_TRANSFORMS or not one.is_dense or one.is_pointwise:
        return Workspace(most)
    transformed = _transformed(one)
    if transformed > _USEFUL * sum(copies):
        return Workspace(most, is_whole=False)
    return Workspace(max(most, transformed + sum(copies)))


def _copies(one: Convolution) -> tuple[int, int, int]:
    """Bytes of what is read, of filters and of what is written, with their channels last."""
    vector = _VECTOR_BYTES // one.dtype.itemsize
    reads, writes = one.channels(one.inputs, vector), one.channels(one.outputs, vector)
    entries = (
        one.inputs[0] * reads * math.prod(one.inputs[2:]),
        reads * (writes // one.groups) * math.prod(one.filters),
        one.outputs[0] * writes * math.prod(one.outputs[2:]),
    )
    read, filters, written = (each * one.dtype.itemsize for each in entries)
    return read, filters, written


def _partial_results(one: Convolution, what: str, kernels: Kernels) -> int:
    """In float32, one for each slice of what is added up."""
    read, filters, written = (each // one.dtype.itemsize for each in _copies(one))
    window = math.prod(one.filters)
    if what == OF_FILTER:
        made, summed = filters, one.outputs[0] * math.prod(one.outputs[2:])
        rows = one.channels(one.outputs) // one.groups
    elif what == OF_INPUT:
        made, summed = read, one.channels(one.outputs) // one.groups * window
        rows = one.inputs[0] * math.prod(one.inputs[2:])
    else:
        made, summed = written, one.channels(one.inputs) // one.groups * window
        rows = one.outputs[0] * math.prod(one.outputs[2:])
    sides = rows, made // rows
    tiles = min(math.prod(map(ceil_div, each, _LARGEST_TILE)) for each in (sides, sides[::-1]))
    shortest = _INSTRUCTION_BYTES // one.dtype.itemsize
    slices = min(ceil_div(summed, shortest), kernels.num_multiprocessors * _BLOCKS // tiles)
    split = slices * made * _FLOAT_BYTES if slices > 1 else 0
    most = min(split, kernels.num_multiprocessors * _REGISTER_BYTES)
    if what == OF_FILTER and one.is_pointwise:
        return max(most, one.inputs[0] * made * _FLOAT_BYTES)
    return most


def _transformed(one: Convolution) -> int:
    """The operands of a Fourier transform, twice, or those of Winograd's."""
    planes = one.inputs[0] * (one.inputs[1] + one.outputs[1])
    pairs = one.inputs[1] * one.outputs[1] // one.groups
    most = 0
    if max(one.filters) <= _WIDEST_FILTER:
        lengths, tiles = [], 1
        for size, window in zip(one.outputs[2:], one.filters, strict=True):
            length = max(_FOURIER_TILE[len(one.filters)], 2 * window) if window > 1 else 1
            lengths.append(length)
            tiles *= ceil_div(size, length - window + 1)
        half = max(lengths)
        spectrum = math.prod(lengths) // half * (half // 2 + 1) * _COMPLEX_BYTES
        most = 2 * (planes * tiles + pairs) * spectrum
    if len(one.filters) == 2 and one.filters[0] == one.filters[1] in _WINOGRAD_FILTERS:
        window = one.filters[0]
        made = math.prod(2 * ceil_div(size, 2) for size in one.outputs[2:])
        entries = planes * made * _WINOGRAD_TILES + pairs * (window + 3) ** 2
        most = max(most, entries * _FLOAT_BYTES)
    return most
