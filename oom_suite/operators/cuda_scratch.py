"""What CUDA's own kernels allocate inside, to the byte, in the order in which they do it.

The figures hold for CUB as CUDA 13.0 has it, tuned for sm_90, which an NVIDIA H200 confirmed
(torch 2.11.0+cu130) for int32 and int64 at 1 to 4,194,304 values. Other CUBs and other tunings
take a little more or less; where that decides a peak, the measure lane reports the difference.

Source: PyTorch 2.11 ``aten/src/ATen/native/cuda/UniqueCub.cu``, ``compute_unique`` and
``UniqueCub``; ``ScanUtils.cuh``, ``scan_dim``; ``aten/src/ATen/cuda/cub.cuh``, ``CUB_WRAPPER``.
CUB 3.0 (CUDA 13.0) ``cub/device/dispatch``: ``dispatch_radix_sort.cuh``, ``dispatch_scan.cuh``,
``dispatch_select_if.cuh`` and their ``tuning``; ``util_temporary_storage.cuh``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ALIGNMENT_BYTES = 256
_TILE_PADDING = 32
_TILE_STATUS_BYTES = 8
_NUM_DIGITS = 256
_BITS_PER_PASS = 8
_INDEX_BYTES = 8

_SINGLE_TILE = {4: 4864, 8: 2304}
"""Most values that one block sorts, by the bytes of the wider of key and value."""
_ONESWEEP_TILE = {(4, 0): 7296, (8, 0): 5760, (4, 8): 5376, (8, 8): 4608}
"""Values that one block of the sort takes, by bytes of a key and of a value."""
_SCAN_TILE = 3072
"""Values that one block of an int32 sum takes."""
_SELECT_TILE = {4: 6528, 8: 4224}
"""Values that one block takes when repeated ones are dropped, by the bytes of one."""

SORT = "cub::DeviceRadixSort"
SCAN = "cub::DeviceScan"
SELECT = "cub::DeviceSelect"


@dataclass(frozen=True, slots=True)
class Take:
    """A request inside an operator.

    Attributes:
        name: what `Give` frees it by; a number is the place of the result that keeps it.
        num_bytes: the request.
        op: who asks.
    """

    name: str | int
    num_bytes: int
    op: str


@dataclass(frozen=True, slots=True)
class Give:
    """The free of what `Take` of that name asked for."""

    name: str


Step = Take | Give


def inside(name: str, args: tuple[Any, ...], result: Any) -> tuple[Step, ...] | None:
    """What a call requests and frees, its results among it; None where that is not known.

    Args:
        name: the operator with its overload, as ``aten::_unique2``.
        args: its arguments; those of an overload's schema have fixed positions.
        result: what it returned.
    """
    steps = _KNOWN.get(name)
    return None if steps is None else steps(args, result)


def _unique(args: tuple[Any, ...], result: Any) -> tuple[Step, ...] | None:
    values = args[0]
    with_inverse = len(args) > 2 and bool(args[2])
    with_counts = len(args) > 3 and bool(args[3])
    known = values.dtype in {torch.int32, torch.int64}
    if with_counts or not known or values.numel() == 0 or len(result) < 2:
        return None
    count, width = values.numel(), values.element_size()
    is_copied = not values.is_contiguous()
    return tuple(_unique_steps(count, width, with_inverse=with_inverse, is_copied=is_copied))


def _unique_steps(count: int, width: int, *, with_inverse: bool, is_copied: bool) -> Iterator[Step]:
    op = "aten::_unique2"
    if is_copied:
        yield Take("copy", count * width, op)
    yield Take("sorted", count * width, op)
    if with_inverse:
        yield Take("range", count * _INDEX_BYTES, op)
        yield Take("places", count * _INDEX_BYTES, op)
        yield from _scratch(sort_bytes(count, width, _INDEX_BYTES), SORT)
        yield Give("range")
        yield Take(1, count * _INDEX_BYTES, op)
        yield Take("sums", count * _INDEX_BYTES, op)
        yield from _scratch(tiles_bytes(count, _SCAN_TILE), SCAN)
        yield Give("sums")
    else:
        yield from _scratch(sort_bytes(count, width, 0), SORT)
    yield Take(0, count * width, op)
    yield Take("length", _INDEX_BYTES, op)
    yield from _scratch(tiles_bytes(count, _SELECT_TILE[width]), SELECT)
    yield Give("length")
    if with_inverse:
        yield Give("places")
    yield Give("sorted")
    if is_copied:
        yield Give("copy")


def _cumsum_out(args: tuple[Any, ...], result: Any) -> tuple[Step, ...] | None:
    """A sum along the only long dimension, into a tensor that is there already."""
    values = args[0]
    is_int32 = values.dtype is torch.int32 and result.dtype is torch.int32
    if not is_int32 or values.numel() == 0 or values.numel() != values.shape[args[1]]:
        return None
    return tuple(_scratch(tiles_bytes(values.numel(), _SCAN_TILE), SCAN))


def _scratch(num_bytes: int, op: str) -> Iterator[Step]:
    yield Take(op, num_bytes, op)
    yield Give(op)


def sort_bytes(count: int, key_bytes: int, value_bytes: int) -> int:
    """Scratch of a radix sort of so many keys of 4 or 8 bytes, with values of 0 or 8 bytes."""
    if count <= _SINGLE_TILE[max(key_bytes, value_bytes)]:
        return 1
    num_passes = key_bytes * 8 // _BITS_PER_PASS
    num_blocks = -(-count // _ONESWEEP_TILE[key_bytes, value_bytes])
    return _together(
        num_passes * _NUM_DIGITS * 8,
        num_blocks * _NUM_DIGITS * 4,
        count * key_bytes,
        count * value_bytes,
        num_passes * 4,
    )


def tiles_bytes(count: int, tile: int) -> int:
    """Scratch of a scan or a selection: one status for each tile of so many values."""
    num_tiles = -(-count // tile)
    return _together(_together((num_tiles + _TILE_PADDING) * _TILE_STATUS_BYTES))


def _together(*sizes_bytes: int) -> int:
    """One allocation for several, each aligned, and room to align the first."""
    aligned = (-(-size // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES for size in sizes_bytes)
    return sum(aligned) + _ALIGNMENT_BYTES - 1


_KNOWN: dict[str, Callable[[tuple[Any, ...], Any], tuple[Step, ...] | None]] = {
    "aten::_unique": _unique,
    "aten::_unique2": _unique,
    "aten::cumsum.out": _cumsum_out,
}
