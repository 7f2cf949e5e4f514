"""The allocator's settings, read from the text of PYTORCH_CUDA_ALLOC_CONF."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from oom_suite.errors import UsageError, unknown
from oom_suite.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable


NUM_ROUNDUP_INTERVALS = 16
"""Size classes of `roundup_power2_divisions`: 1 MiB, 2 MiB, ... 32 GiB and above.

Source: PyTorch 2.11, ``c10/core/AllocatorConfig.cpp``, ``kRoundUpPowerOfTwoIntervals``.
"""

DEFAULT_LARGE_SEGMENT_BYTES = 20 * MIB
"""Segment that requests over 1 MiB and under 10 MiB share.

Source: PyTorch 2.13, ``c10/core/AllocatorConfig.h``, ``large_segment_size_``; earlier the
constant ``kLargeBuffer``, of the same value.
"""


@dataclass(frozen=True, slots=True)
class AllocatorSettings:
    """What `PYTORCH_ALLOC_CONF` can change about where blocks come from.

    Attributes:
        max_split_size_bytes: blocks of this size and above are never split, and serve only
            requests of this size and above; None splits every block.
        max_non_split_rounding_bytes: how much larger than the request an unsplittable block
            may be; it must be less than request plus this.
        roundup_power2_divisions: for each size class from 1 MiB to 32 GiB, into how many
            steps the space between two powers of two is cut; 0 and 1 round to 512 bytes.
        garbage_collection_threshold: share of the limit above which cached segments are
            given back before the driver is asked; 0 never. It acts only under a limit.
        expandable_segments: one growing segment for each stream and pool.
        large_segment_bytes: the segment that middle-sized requests share.

    Source: PyTorch 2.13, ``c10/core/AllocatorConfig.h``, ``AcceleratorAllocatorConfig``.
    """

    max_split_size_bytes: int | None = None
    max_non_split_rounding_bytes: int = 20 * MIB
    roundup_power2_divisions: tuple[int, ...] = (0,) * NUM_ROUNDUP_INTERVALS
    garbage_collection_threshold: float = 0.0
    expandable_segments: bool = False
    large_segment_bytes: int = DEFAULT_LARGE_SEGMENT_BYTES


_PAIR = re.compile(r"(?P<key>[^:,\[\]]+):(?P<value>\[[^\[\]]*\]|[^:,\[\]]+)(?:,|$)")
_MIN_LARGE_SEGMENT_MB = 10

# Options that change nothing about where the device's blocks come from.
_WITHOUT_EFFECT = frozenset(
    {
        "graph_capture_record_stream_reuse",
        "pinned_free_catch_all",
        "pinned_max_cached_size_mb",
        "pinned_max_round_threshold_mb",
        "pinned_num_register_threads",
        "pinned_reserve_segment_size_mb",
        "pinned_use_background_threads",
        "pinned_use_cuda_host_register",
        "pinned_use_hip_host_register",
        "release_lock_on_cudamalloc",
        "release_lock_on_hipmalloc",
    }
)
# Options that would, in ways that are not modelled; the value each may have, and what to do.
_ONLY = {
    "backend": ("native", "only PyTorch's own allocator is modelled"),
    "per_process_memory_fraction": ("1.0", "give the limit in bytes instead"),
    "throw_on_cudamalloc_oom": ("False", "leave it out"),
}


def parse_settings(text: str) -> AllocatorSettings:
    """The settings that the value of a ``PYTORCH_*_ALLOC_CONF`` variable stands for.

    Args:
        text: for example ``max_split_size_mb:64,roundup_power2_divisions:[256:1,>:4]``; the
            empty text gives PyTorch's defaults.

    Raises:
        UsageError: the text is not ``key:value`` pairs, a key is unknown or stands for
            something that is not modelled, or a value is one that torch refuses.

    Source: PyTorch 2.13, ``c10/core/AllocatorConfig.cpp``, ``parseArgs``.
    """
    packed = re.sub(r"\s", "", text)
    settings = AllocatorSettings()
    position = 0
    while position < len(packed):
        pair = _PAIR.match(packed, position)
        if pair is None:
            raise UsageError(
                f"not allocator settings: {packed[position:]!r} in {text!r}; "
                "write key:value pairs with commas between, for example max_split_size_mb:64"
            )
        position = pair.end()
        settings = replace(settings, **_read(pair["key"], pair["value"]))
    _check_sizes(settings)
    return settings


def _read(key: str, value: str) -> dict[str, Any]:
    """The fields that one pair sets; none when it has no effect on blocks."""
    if key in _WITHOUT_EFFECT:
        return {}
    if key in _ONLY:
        allowed, instead = _ONLY[key]
        if value not in {allowed, allowed.removesuffix(".0")}:
            raise UsageError(f"{key}:{value} is not modelled, only {key}:{allowed}: {instead}")
        return {}
    if key not in _READERS:
        raise unknown("allocator setting", key, {*_READERS, *_WITHOUT_EFFECT, *_ONLY})
    name, read = _READERS[key]
    return {name: read(key, value)}


def _whole_number(key: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal()):
        raise UsageError(f"{key} is {value!r}: give a whole number")
    return int(value)


def _megabytes(key: str, value: str) -> int:
    return _whole_number(key, value) * MIB


def _large_segment(key: str, value: str) -> int:
    number = _whole_number(key, value)
    if number <= _MIN_LARGE_SEGMENT_MB:
        raise UsageError(f"{key} is {number}: give more than {_MIN_LARGE_SEGMENT_MB}")
    return number * MIB


def _true_or_false(key: str, value: str) -> bool:
    if value not in {"True", "False"}:
        raise UsageError(f"{key} is {value!r}: write True or False")
    return value == "True"


def _share(key: str, value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = 0.0
    if not 0.0 < share < 1.0:
        raise UsageError(f"{key} is {value!r}: give a number above 0 and below 1")
    return share


def _divisions(key: str, value: str) -> tuple[int, ...]:
    """The divisions of each size class, from one number or from ``[MiB:number,...,>:number]``.

    A class below the first one named is as the first one; classes left out between are 0.

    Source: PyTorch 2.11, ``AllocatorConfig.cpp``, ``parseRoundUpPower2Divisions``.
    """
    if not value.startswith("["):
        return (_power_of_two(key, value),) * NUM_ROUNDUP_INTERVALS
    divisions = [0] * NUM_ROUNDUP_INTERVALS
    last: int | None = None
    for entry in filter(None, value[1:-1].split(",")):
        boundary, colon, number = entry.partition(":")
        if not colon:
            raise UsageError(f"{key} has {entry!r}: write size:divisions, for example 256:2")
        num_divisions = 0 if number == "0" else _power_of_two(key, number)
        if boundary == ">":
            first = (last or 0) + 1
            divisions[first:] = [num_divisions] * (NUM_ROUNDUP_INTERVALS - first)
            continue
        size_class = _power_of_two(key, boundary).bit_length() - 1
        size_class = min(size_class, NUM_ROUNDUP_INTERVALS - 1)
        if last is None:
            divisions[:size_class] = [num_divisions] * size_class
        divisions[size_class] = num_divisions
        last = size_class
    return tuple(divisions)


def _power_of_two(key: str, value: str) -> int:
    number = _whole_number(key, value)
    if number.bit_count() != 1:
        raise UsageError(f"{key} has {number}: give a power of two")
    return number


def _check_sizes(settings: AllocatorSettings) -> None:
    """The two sizes that may not be under the segment they are compared with."""
    least = settings.large_segment_bytes
    split, rounding = settings.max_split_size_bytes, settings.max_non_split_rounding_bytes
    if split is not None and split < least:
        raise UsageError(f"max_split_size_mb is {split // MIB}: give {least // MIB} or more")
    # PyTorch checks the value that is given, not the default.
    if rounding < least and rounding != AllocatorSettings().max_non_split_rounding_bytes:
        raise UsageError(
            f"max_non_split_rounding_mb is {rounding // MIB}: give {least // MIB} or more"
        )


_READERS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "expandable_segments": ("expandable_segments", _true_or_false),
    "garbage_collection_threshold": ("garbage_collection_threshold", _share),
    "large_segment_size_mb": ("large_segment_bytes", _large_segment),
    "max_non_split_rounding_mb": ("max_non_split_rounding_bytes", _megabytes),
    "max_split_size_mb": ("max_split_size_bytes", _megabytes),
    "roundup_power2_divisions": ("roundup_power2_divisions", _divisions),
}
