"""The temporary storage of device-wide algorithms on a target: CUB's to the byte, others at most.

CUB's figures are those of sm_90. hipCUB calls rocPRIM, and CUB has other tunings for other GPUs:
there a bound holds that the algorithms themselves give, whatever their tuning.

Source: rocPRIM ``rocprim/include/rocprim/device/device_radix_sort.hpp`` (``radix_sort_impl``: a
second buffer for keys and one for values, digit counts of every block),
``device_segmented_radix_sort.hpp`` (second buffers, and three lists of segments),
``device_partition.hpp`` and ``detail/lookback_scan_state.hpp`` (for each block a prefix of up to
16 bytes, a wavefront of them before it). A block is at least one wavefront, each thread has at
least one value, and blocks of sorts have no fewer than 256.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.operators.cuda import cub
from oom_suite.operators.kernels import ceil_div
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oom_suite.operators.kernels import Kernels
    from oom_suite.operators.steps import Step

_MOST_AT_ONCE = 2**31 - 1
_WAVEFRONT = 64
_PREFIX_BYTES = 16
_SORT_BLOCK = 256
_DIGITS_BYTES = 256 * 4
_DIGIT_PLACES_BYTES = 8 * 256 * 8
_ROOM_BYTES = 8192
"""For counters, empty parts and the alignment of each part."""


@dataclass(frozen=True, slots=True)
class Storage:
    """One request for temporary storage."""

    num_bytes: int
    name: str
    is_bound: bool

    def steps(self) -> Iterator[Step]:
        """The request, which is given back at once; nothing where it is empty."""
        if self.num_bytes:
            yield Take(self.name, self.num_bytes, self.name, self.is_bound)
            yield Give(self.name)


def sort_storage(
    kernels: Kernels, count: int, key_bytes: int, value_bytes: int, num_bits: int = 0
) -> Storage | None:
    """Of a radix sort of so many keys with values of 0 or 8 bytes; None where it is not known."""
    if kernels.has_cub:
        exact = cub.sort_bytes(count, key_bytes, value_bytes, num_bits)
        return None if exact is None else Storage(exact, cub.SORT, is_bound=False)
    if count > _MOST_AT_ONCE:
        return None
    digits = (ceil_div(count, _SORT_BLOCK) + 1) * _DIGITS_BYTES + _DIGIT_PLACES_BYTES
    return Storage(_buffers(count, key_bytes, value_bytes) + digits, cub.SORT, is_bound=True)


def segmented_sort_storage(
    kernels: Kernels, num_segments: int, count: int, key_bytes: int, value_bytes: int
) -> Storage:
    """Of a radix sort in segments."""
    if kernels.has_cub:
        exact = cub.segmented_sort_bytes(count, key_bytes, value_bytes)
        return Storage(exact, cub.SEGMENTED_SORT, is_bound=False)
    lists = 4 * num_segments * 4
    bound = _buffers(count, key_bytes, value_bytes) + lists
    return Storage(bound, cub.SEGMENTED_SORT, is_bound=True)


def sum_storage(kernels: Kernels, count: int, value_bytes: int) -> Storage | None:
    """Of the library's own sum over so many values; None where it is not known."""
    return _scan(kernels, count, cub.sum_bytes(count, value_bytes))


def scan_storage(kernels: Kernels, count: int, value_bytes: int) -> Storage | None:
    """Of a scan by torch's own operators over values of up to 8 bytes; None: not known."""
    return _scan(kernels, count, cub.scan_bytes(count, value_bytes))


def keyed_sum_storage(kernels: Kernels, count: int) -> Storage:
    """Of sums of uint32 for each run of equal keys."""
    if kernels.has_cub:
        return Storage(cub.keyed_sum_bytes(count), cub.SCAN, is_bound=False)
    return Storage(2 * _prefixes(count), cub.SCAN, is_bound=True)


def _scan(kernels: Kernels, count: int, exact: int | None) -> Storage | None:
    if kernels.has_cub:
        return None if exact is None else Storage(exact, cub.SCAN, is_bound=False)
    return Storage(_prefixes(count), cub.SCAN, is_bound=True)


def half_scan_storage(kernels: Kernels, count: int) -> Storage:
    """Of a sum over so many values of 16 bits."""
    if kernels.has_cub:
        return Storage(cub.half_scan_bytes(count), cub.SCAN, is_bound=False)
    return Storage(_prefixes(count), cub.SCAN, is_bound=True)


def select_storage(kernels: Kernels, count: int, value_bytes: int) -> Storage | None:
    """Of a selection among so many values; None where it is not known."""
    if kernels.has_cub:
        exact = cub.select_bytes(count, value_bytes)
        return None if exact is None else Storage(exact, cub.SELECT, is_bound=False)
    return Storage(_prefixes(count), cub.SELECT, is_bound=True)


def runs_storage(kernels: Kernels, count: int, value_bytes: int) -> Storage | None:
    """Of counting runs of equal values; None where it is not known."""
    exact = cub.runs_bytes(count, value_bytes) if kernels.has_cub else None
    return None if exact is None else Storage(exact, cub.RUNS, is_bound=False)


def _buffers(count: int, key_bytes: int, value_bytes: int) -> int:
    return count * (key_bytes + value_bytes) + _ROOM_BYTES


def _prefixes(count: int) -> int:
    return (ceil_div(count, _WAVEFRONT) + _WAVEFRONT) * _PREFIX_BYTES + _ROOM_BYTES
