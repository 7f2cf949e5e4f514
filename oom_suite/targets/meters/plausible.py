"""Whether a figure can be true: what no device in use would say is named, never passed on."""

from __future__ import annotations

from oom_suite.units import format_bytes

_UNIT_SLIP = 2
"""A figure this many times the whole device is not memory but a wrong unit."""
_DECIMAL, _BINARY = 1000, 1024


def why_not(value: object, total: object = None) -> str:
    """Why a figure is left out, in one clause; empty when it can be true.

    Args:
        value: what the source said, in bytes.
        total: what the source says there is, in bytes; None where that does not bound `value`.
    """
    if not _is_count(value):
        return f"it says {_shown(value)} instead of bytes"
    if total is None:
        return ""
    if not _is_count(total):
        return f"it says {_shown(total)} instead of the device's total"
    assert isinstance(value, int)
    assert isinstance(total, int)
    if total == 0:
        return "it says that the device has 0 B in all"
    if value > total:
        slip = ": its units are not the documented ones" if value >= _UNIT_SLIP * total else ""
        return f"it says {format_bytes(value)} of a total of {format_bytes(total)}{slip}"
    return ""


def too_small(value: int, held_bytes: int) -> str:
    """Why a figure that must cover our own memory is left out; empty when it can be true.

    Args:
        value: what the source said is in use, in bytes.
        held_bytes: what torch's allocator holds on the device in this process.

    One part in 43 less is let pass: amdsmi 6 and 7 turn KiB into bytes by 1000, not by 1024
    (Source: ROCm/amdsmi ``src/amd_smi/fdinfo.cc``).
    """
    if value * _BINARY >= held_bytes * _DECIMAL:
        return ""
    return (
        f"it says {format_bytes(value)} where this process's allocator alone holds "
        f"{format_bytes(held_bytes)}"
    )


def totals_disagree(total: object, other_total: object) -> str:
    """Why two totals of one source cannot both be bytes; empty when they agree within a half."""
    if not _is_count(total) or not _is_count(other_total):
        return ""
    assert isinstance(total, int)
    assert isinstance(other_total, int)
    if min(total, other_total) * 2 >= max(total, other_total):
        return ""
    return (
        f"its two totals disagree ({format_bytes(total)} and {format_bytes(other_total)}): "
        "units are not the documented ones"
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _shown(value: object) -> str:
    return "nothing" if value is None else f"{value!r:.40}"
