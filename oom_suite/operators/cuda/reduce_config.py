"""How CUDA's reductions are launched, and what their blocks share in global memory.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/Reduce.cuh``, ``setReduceConfig``,
``get_output_vec_size``, ``ReduceConfig``; ``native/TensorIterator.cpp``, ``reorder_dimensions``
and ``coalesce_dimensions``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.operators.kernels import ceil_div

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch

    from oom_suite.operators.kernels import Kernels

_MAX_THREADS = 512
_MAX_VALUES = 256
_WORTH_VECTORS = 128
_SEMAPHORE_BYTES = 4
_VECTOR = 4


@dataclass(frozen=True, slots=True)
class Reduction:
    """What a kernel reduces, and in what.

    Attributes:
        partial_bytes: of one partial result.
        vector: entries that a thread loads at once.
    """

    partial_bytes: int
    vector: int = 4


@dataclass(slots=True)
class _Dim:
    size: int
    stride: int
    place: int


def shared_bytes(
    source: torch.Tensor, dims: Collection[int], reduction: Reduction, kernels: Kernels
) -> tuple[int, int] | None:
    """Bytes of partial results and of semaphores; None where no block shares."""
    inner = _merged(source, [d for d in range(source.dim()) if d in dims])
    outer = _merged(source, [d for d in range(source.dim()) if d not in dims])
    num_outputs = _product(outer)
    num_inputs = _product(inner)
    if source.numel() <= 1:
        return None
    along_inputs = not outer or not inner or inner[0].stride < outer[0].stride
    first = (inner or outer)[0].stride if along_inputs else outer[0].stride
    dim0, dim1 = (num_inputs, num_outputs) if along_inputs else (num_outputs, num_inputs)
    output_vector = 1
    if first == 1 and along_inputs and dim0 >= _WORTH_VECTORS and len(inner) == 1:
        dim0 //= reduction.vector
    elif first == 1 and not along_inputs:
        output_vector = _output_vector(source, inner, outer)
        dim0 //= output_vector
    width, height = _block(dim0, dim1, output_vector, kernels)
    launch = _Launch(num_inputs, num_outputs, output_vector, width, height, along_inputs)
    ctas = _ctas(launch, kernels)
    if ctas <= 1:
        return None
    partial_bytes = reduction.partial_bytes * num_outputs * ctas
    if not along_inputs:
        partial_bytes *= width * output_vector
    return partial_bytes, _SEMAPHORE_BYTES * launch.grid


@dataclass(slots=True)
class _Launch:
    num_inputs: int
    num_outputs: int
    output_vector: int
    width: int
    height: int
    along_inputs: bool

    @property
    def step_input(self) -> int:
        """Inputs that a block takes at once, its warps left out."""
        return self.width if self.along_inputs else 1

    @property
    def is_split_across_warps(self) -> bool:
        """Whether the warps of a block share an output."""
        values = ceil_div(self.num_inputs, self.step_input)
        return values >= min(self.height * 16, _MAX_VALUES)

    @property
    def grid(self) -> int:
        """Blocks side by side, along the outputs."""
        step = 1 if self.along_inputs else self.width
        step *= 1 if self.is_split_across_warps else self.height
        return ceil_div(self.num_outputs // self.output_vector, step)


def _ctas(launch: _Launch, kernels: Kernels) -> int:
    """Blocks that share an output."""
    if not launch.is_split_across_warps:
        return 1
    values = ceil_div(launch.num_inputs, launch.step_input * launch.height)
    per_processor = kernels.max_threads_per_multiprocessor // (launch.width * launch.height)
    target = kernels.num_multiprocessors * per_processor
    grid = launch.grid
    if values < _MAX_VALUES or grid > target:
        return 1
    is_rocm = kernels.backend == "rocm"
    fewest = ceil_div(values, 128 if is_rocm else 16)
    ctas = max(min(ceil_div(target, grid), fewest), ceil_div(values, _MAX_VALUES))
    return max(ctas, 64) if is_rocm and ctas > 1 else ctas


def _block(dim0: int, dim1: int, output_vector: int, kernels: Kernels) -> tuple[int, int]:
    most = _MAX_THREADS // output_vector
    first = _last_power(dim0) if dim0 < most else most
    second = _last_power(dim1) if dim1 < most else most
    width = min(first, kernels.warp_size)
    height = min(second, most // width)
    return min(first, most // height), height


def _last_power(number: int) -> int:
    return 1 << (number.bit_length() - 1)


def _output_vector(source: torch.Tensor, inner: list[_Dim], outer: list[_Dim]) -> int:
    strides = [dim.stride for dim in (*inner, *outer[1:])]
    vector = _VECTOR
    for number in (source.storage_offset(), outer[0].size, *strides):
        while number % vector:
            vector //= 2
    return vector


def _merged(source: torch.Tensor, dims: list[int]) -> list[_Dim]:
    """The dimensions as few as they can be walked in, the closest entries first."""
    kept = [_Dim(source.shape[d], source.stride(d), d) for d in dims if source.shape[d] != 1]
    kept.sort(key=lambda dim: (dim.stride, -dim.place))
    merged: list[_Dim] = []
    for dim in kept:
        if merged and merged[-1].size * merged[-1].stride == dim.stride:
            merged[-1].size *= dim.size
        else:
            merged.append(dim)
    return merged


def _product(dims: list[_Dim]) -> int:
    size = 1
    for dim in dims:
        size *= dim.size
    return size
