"""Bytes as people read and write them: KiB, MiB, GiB, always binary, always labelled."""

from __future__ import annotations

import re
from fractions import Fraction

from oom_suite.errors import UsageError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

_SCALES = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}
_AMOUNT = re.compile(r"(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>[A-Za-z]*)")


def parse_bytes(text: str, *, least_bare: int = 0) -> int:
    """The whole number of bytes that an amount such as ``12.74GiB`` names, rounded down.

    Args:
        text: a non-negative decimal number and one of B, KiB, MiB, GiB, TiB. A bare
            number is bytes.
        least_bare: bare numbers below this are refused: whoever writes 12 for a device's memory
            does not mean bytes.

    Raises:
        UsageError: the text is not an amount, or its unit is decimal (GB), unknown or missing.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        msg = f"not an amount of bytes: {text!r}; write it like 12.74GiB or 512MiB"
        raise UsageError(msg)
    unit = match["unit"] or "B"
    scale = _SCALES.get(unit)
    if scale is None:
        meant = {name.lower(): name for name in _SCALES}
        binary = f"{unit[0].upper()}iB" if unit else "B"
        near = meant.get(unit.lower()) or (binary if binary in _SCALES else "GiB")
        msg = f"unknown unit {unit!r} in {text!r}: use {', '.join(_SCALES)}; did you mean {near}?"
        raise UsageError(msg)
    num_bytes = int(Fraction(match["number"]) * scale)
    if not match["unit"] and 0 < num_bytes < least_bare:
        number = match["number"]
        msg = f"{text!r} has no unit: write {number}GiB or {number}MiB, or {number}B for bytes"
        raise UsageError(msg)
    return num_bytes


def format_bytes(num_bytes: float) -> str:
    """The amount in the largest binary unit that keeps it at 1 or more.

    Two decimals: `vLLM` and torch print their out-of-memory figures so.
    """
    sign = "-" if num_bytes < 0 else ""
    size = abs(num_bytes)
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size >= _SCALES[unit]:
            return f"{sign}{size / _SCALES[unit]:.2f} {unit}"
    return f"{sign}{size:,.0f} B" if float(size).is_integer() else f"{sign}{size:g} B"
