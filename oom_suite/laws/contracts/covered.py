"""Reads the promise `covered_by`: a figure or sizes of the profile run, and a box of sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oom_suite.errors import UsageError, unknown
from oom_suite.records import CoveredBy
from oom_suite.units import parse_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oom_suite.records.covering import Box

_EXAMPLE = "box={'num_tokens': (1, 8192)}"


def covered_by(
    figure: str | int | Mapping[str, int] | None,
    box: Mapping[str, Any] | None,
    axes: Sequence[str],
) -> CoveredBy | None:
    """The promise that a peak is nowhere in a box above what a profile run took.

    Args:
        figure: what the profile run took, in bytes (``"512MiB"``, ``536870912``), or the sizes
            that it ran the same code at; None for no promise.
        box: axes, each with the least and the largest size that can come later, or with the one
            that it has.
        axes: every axis of the workload.

    Raises:
        UsageError: one of them cannot be read, or only one is given.
    """
    if figure is None and box is None:
        return None
    if figure is None:
        raise UsageError("box: say what covers it, as covered_by='512MiB' or the profile's sizes")
    if not box:
        raise UsageError(f"covered_by: name the sizes that can come later, as {_EXAMPLE}")
    if isinstance(figure, Mapping):
        sizes = {axis: _size("covered_by", axis, size, axes) for axis, size in figure.items()}
        what = f"the profile run at {', '.join(f'{axis}={n:,}' for axis, n in sizes.items())}"
        return CoveredBy(read_box(box, axes), None, tuple(sizes.items()), what)
    return CoveredBy(read_box(box, axes), _num_bytes(figure))


def read_box(box: Mapping[str, Any], axes: Sequence[str]) -> Box:
    """The box that axes and their sizes make.

    Raises:
        UsageError: an axis is none, or what it is given is no size and no range of sizes.
    """
    if not isinstance(box, Mapping):
        raise UsageError(f"box: {box!r} is not a mapping from axes to sizes, such as {_EXAMPLE}")
    found = []
    for axis, given in box.items():
        ends = tuple(given) if isinstance(given, list | tuple) else (given, given)
        if len(ends) != 2:
            raise UsageError(f"box: {axis}={given!r}: give the least and the largest, (1, 8192)")
        least, most = (_size("box", axis, size, axes) for size in ends)
        if least > most:
            raise UsageError(f"box: {axis}={given!r}: the least size, {least:,}, comes first")
        found.append((axis, least, most))
    return tuple(found)


def _size(what: str, axis: str, size: Any, axes: Sequence[str]) -> int:
    if axis not in axes:
        raise UsageError(f"{what}: {unknown('axis', axis, axes)}")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise UsageError(f"{what}: {axis}={size!r} is not a size: give a whole number from 1")
    return size


def _num_bytes(figure: Any) -> int:
    if isinstance(figure, str):
        try:
            return parse_bytes(figure)
        except UsageError as error:
            raise UsageError(f"covered_by: {error}") from None
    if isinstance(figure, bool) or not isinstance(figure, int) or figure < 0:
        msg = f"covered_by: {figure!r}: give bytes, such as '512MiB', or the profile's sizes"
        raise UsageError(msg)
    return figure
