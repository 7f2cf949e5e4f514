"""The temporary storage that CUB's device-wide algorithms ask for, to the byte.

The figures hold for CUB as CUDA 13.0 has it, tuned for sm_90, which an NVIDIA H200 confirmed
(torch 2.11.0+cu130) for int32 and int64 at 1 to 4,194,304 values. Other CUBs and other tunings
take a little more or less; where that decides a peak, the measure lane reports the difference.

Source: CUB 3.0 (CUDA 13.0) ``cub/device/dispatch``: ``dispatch_radix_sort.cuh``,
``dispatch_merge_sort.cuh``, ``dispatch_scan.cuh``, ``dispatch_select_if.cuh``,
``dispatch_reduce_by_key.cuh`` and their ``tuning``; ``util_arch.cuh``, ``MemBoundScaling`` and
``RegBoundScaling``; ``agent/single_pass_scan_operators.cuh``; ``util_temporary_storage.cuh``;
Thrust 3.0 ``thrust/system/cuda/detail``: ``sort.h``, ``reduce.h``, ``reduce_by_key.h``,
``extrema.h``, ``find.h``, for what it adds to CUB's.
"""

from __future__ import annotations

from oom_suite.operators.kernels import ceil_div

SORT = "cub::DeviceRadixSort"
SEGMENTED_SORT = "cub::DeviceSegmentedRadixSort"
SCAN = "cub::DeviceScan"
SELECT = "cub::DeviceSelect"
RUNS = "cub::DeviceRunLengthEncode"
REDUCE = "cub::DeviceReduce"
THRUST = "thrust"

_ALIGNMENT_BYTES = 256
_TILE_PADDING = 32
_NUM_DIGITS = 256
_BITS_PER_PASS = 8
_OFFSET_BYTES = 8
"""Torch counts in 64 bits, and so does CUB for it."""

_SINGLE_TILE = {1: 4864, 2: 4864, 4: 4864, 8: 2304}
"""Most values that one block sorts, by the bytes of the wider of key and value."""

_ONESWEEP_TILE = {
    (1, 0): 512 * 19,
    (2, 0): 512 * 19,
    (4, 0): 384 * 19,
    (8, 0): 384 * 15,
    (1, 8): 384 * 9,
    (2, 8): 512 * 11,
    (4, 8): 384 * 14,
    (8, 8): 384 * 12,
}
"""Values that one block of the sort takes, by bytes of a key and of a value."""

_SUM_TILE = {4: 128 * 24, 8: 224 * 12}
"""Values that one block of CUB's own sum takes, by the bytes of what it sums in."""

_SCAN_THREADS = 128
_SCAN_ITEMS = 15
"""Values of 4 bytes that one thread takes in a scan by any other operator, which is not tuned."""

_STATUS_BYTES = {4: 8, 8: 16}
"""Of one tile of a sum: its state beside its value."""

_KEYED_TILE = 288 * 14
_KEYED_STATUS_BYTES = 16
"""Of a sum of 4 bytes for each run of equal keys of 4 bytes."""

_MERGE_TILE = 256 * 17
"""Values of up to 32 bits that one block merges."""

_HALF_TILE = 128 * 30
"""Values of 16 bits that one block sums: twice as many as of 32, for which there are 15."""

_HALF_STATUS_BYTES = (4, 2, 2)
"""Of one tile of a sum in torch's own 16-bit types, in three lists: state, own sum, sum so far."""

_SELECT_TILE = {1: 256 * 22, 2: 256 * 22, 4: 6528, 8: 4224}
"""Values that one block takes when it selects some, by the bytes of one."""

_RUNS_TILE = 128 * 6
"""Values that one block takes when it counts runs in 64 bits, of up to 8 bytes each."""

_RUN_STATUS_BYTES = 16
"""Of one tile of runs: a count and a place with their state, in one word."""

_PORTION = (1 << 28) - 1

_THRUST_ALIGNMENT_BYTES = 128
_REDUCE_THREADS = 256
_OVERSUBSCRIPTION = 5
"""Blocks of a reduction for each that a processor holds at once."""

_PLACED_BYTES = 16
"""Of a value beside its place, which reductions to a place compare."""

_EXTREMA_TILE = 256 * 5
"""Values beside their places that one block compares."""

_KEYED_RUNS_TILE = 256 * 9
"""Values that one block of Thrust's own counts of runs takes."""


def sort_bytes(count: int, key_bytes: int, value_bytes: int, num_bits: int = 0) -> int | None:
    """Scratch of a radix sort of so many keys, with values of 0 or 8 bytes; None: not known.

    Args:
        count: keys.
        key_bytes: of one key.
        value_bytes: of one value.
        num_bits: of a key that are compared; 0 for all.
    """
    tile = _ONESWEEP_TILE.get((key_bytes, value_bytes))
    if tile is None or count >= _PORTION // tile * tile:
        return None
    if count <= _SINGLE_TILE[max(key_bytes, value_bytes)]:
        return 1
    num_passes = ceil_div(num_bits or key_bytes * 8, _BITS_PER_PASS)
    has_buffers = num_passes > 1
    return together(
        num_passes * _NUM_DIGITS * _OFFSET_BYTES,
        ceil_div(count, tile) * _NUM_DIGITS * 4,
        count * key_bytes * has_buffers,
        count * value_bytes * has_buffers,
        num_passes * 4,
    )


def thrust_sort_bytes(count: int, key_bytes: int, value_bytes: int) -> int | None:
    """What Thrust takes to sort by keys: second buffers of its own, and what CUB takes beside."""
    tile = _ONESWEEP_TILE.get((key_bytes, value_bytes))
    if tile is None or count >= _PORTION // tile * tile:
        return None
    buffers = (count * each for each in (key_bytes, value_bytes))
    own = sum(ceil_div(each, _THRUST_ALIGNMENT_BYTES) * _THRUST_ALIGNMENT_BYTES for each in buffers)
    if count <= _SINGLE_TILE[max(key_bytes, value_bytes)]:
        return own + 1
    return own + together(
        key_bytes * _NUM_DIGITS * _OFFSET_BYTES,
        ceil_div(count, tile) * _NUM_DIGITS * 4,
        key_bytes * 4,
    )


def find_bytes(num_resident_blocks: int) -> int:
    """What Thrust takes to find a value in rows of more than one tile: a place for each block."""
    return together(num_resident_blocks * _OVERSUBSCRIPTION * _PLACED_BYTES) + _PLACED_BYTES


def extrema_bytes(count: int, num_resident_blocks: int) -> int:
    """What Thrust takes to find the largest of so many values, and its place."""
    if count <= _EXTREMA_TILE:
        return together(8, 1)
    blocks = num_resident_blocks * _OVERSUBSCRIPTION * _PLACED_BYTES
    return together(8, together(blocks, 8))


def counted_runs_bytes(count: int) -> int:
    """What Thrust takes to count runs of equal keys: a status for each tile."""
    num_tiles = ceil_div(count, _KEYED_RUNS_TILE) + _TILE_PADDING
    return together(8, together(num_tiles * _RUN_STATUS_BYTES))


def resident_blocks(num_multiprocessors: int, num_threads: int) -> int:
    """Blocks of a reduction that a device holds at once, by its threads alone."""
    return num_multiprocessors * (num_threads // _REDUCE_THREADS)


def segmented_sort_bytes(count: int, key_bytes: int, value_bytes: int) -> int:
    """Scratch of a radix sort in segments: a second buffer for keys and for values."""
    return together(count * key_bytes, count * value_bytes)


def sum_bytes(count: int, value_bytes: int) -> int | None:
    """Scratch of CUB's own sum over so many values of 4 or 8 bytes; None: not known."""
    tile = _SUM_TILE.get(value_bytes)
    if tile is None:
        return None
    return tiles_bytes(count, tile, _STATUS_BYTES[value_bytes])


def scan_bytes(count: int, value_bytes: int) -> int | None:
    """Scratch of a scan by another operator, such as ``std::plus``, over values of 4 or 8 bytes.

    Source: CUB ``tuning_scan.cuh`` (``DefaultPolicy``), ``util_arch.cuh`` (``MemBoundScaling``).
    """
    if value_bytes not in _STATUS_BYTES:
        return None
    tile = _SCAN_THREADS * (_SCAN_ITEMS * 4 // value_bytes)
    return tiles_bytes(count, tile, _STATUS_BYTES[value_bytes])


def keyed_sum_bytes(count: int) -> int:
    """Scratch of sums of uint32 for each run of equal keys of 4 bytes.

    Source: CUB ``tuning_scan_by_key.cuh`` (sm_90), ``dispatch_scan_by_key.cuh``.
    """
    num_tiles = ceil_div(count, _KEYED_TILE)
    states = (num_tiles + _TILE_PADDING) * _KEYED_STATUS_BYTES
    return together(states, (num_tiles + 1) * 4)


def merge_sort_bytes(count: int, key_bytes: int, value_bytes: int) -> int:
    """Scratch of a sort that compares: second buffers, and where each block begins to merge."""
    num_starts = ceil_div(count, _MERGE_TILE) + 1
    return together(count * key_bytes, count * value_bytes, num_starts * 4)


def half_scan_bytes(count: int) -> int:
    """Scratch of a sum over so many values of 16 bits."""
    num_tiles = ceil_div(count, _HALF_TILE) + _TILE_PADDING
    return together(together(*(num_tiles * each for each in _HALF_STATUS_BYTES)))


def select_bytes(count: int, value_bytes: int) -> int | None:
    """Scratch of a selection among so many values of 1 to 8 bytes; None: not known."""
    tile = _SELECT_TILE.get(value_bytes)
    return None if tile is None else tiles_bytes(count, tile)


def runs_bytes(count: int, value_bytes: int) -> int | None:
    """Scratch of counting the runs among so many values; None: not known."""
    if value_bytes > _OFFSET_BYTES:
        return None
    return together((ceil_div(count, _RUNS_TILE) + _TILE_PADDING) * _RUN_STATUS_BYTES)


def tiles_bytes(count: int, tile: int, status_bytes: int = 8) -> int:
    """Scratch of a scan or a selection: one status for each tile of so many values."""
    return together(together((ceil_div(count, tile) + _TILE_PADDING) * status_bytes))


def together(*sizes_bytes: int) -> int:
    """One allocation for several, each aligned, and room to align the first."""
    aligned = (ceil_div(size, _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES for size in sizes_bytes)
    return sum(aligned) + _ALIGNMENT_BYTES - 1
