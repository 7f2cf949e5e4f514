"""Contracts by name, with the names of their axes checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.contracts.expressions import parse_bound
from oom_suite.errors import UsageError, unknown
from oom_suite.records import Contract

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def contract(
    axes: Sequence[str],
    *,
    independent_of: str | Iterable[str] = (),
    at_most: str | None = None,
    linear_in: str | Iterable[str] = (),
    constant: bool = False,
) -> Contract:
    """The contract that these promises make together.

    Args:
        axes: every axis of the workload.
        independent_of: one axis or several that the peak must not depend on.
        at_most: an expression in the axes that the peak must not exceed, as `parse_bound` reads.
        linear_in: axes that the peak may grow at most linearly with.
        constant: whether the peak must not depend on any axis.

    Raises:
        UsageError: an axis that is none, or a bound that cannot be read.
    """
    forbidden = tuple(axes) if constant else _named(independent_of, axes, "independent_of")
    return Contract(
        independent_of=forbidden,
        at_most=None if at_most is None else parse_bound(at_most, axes),
        linear_in=_named(linear_in, axes, "linear_in"),
    )


def independent_of(*names: str, axes: Sequence[str]) -> Contract:
    """The promise that the peak depends on none of the named axes."""
    return contract(axes, independent_of=names)


def at_most(bound: str, *, axes: Sequence[str]) -> Contract:
    """The promise that the peak is within a bound, for all sizes."""
    return contract(axes, at_most=bound)


def linear_in(*names: str, axes: Sequence[str]) -> Contract:
    """The promise that no power of these axes, and no product of two, is in the peak."""
    return contract(axes, linear_in=names)


def constant(*, axes: Sequence[str]) -> Contract:
    """The promise that the peak depends on no axis at all."""
    return contract(axes, constant=True)


def _named(names: str | Iterable[str], axes: Sequence[str], promise: str) -> tuple[str, ...]:
    wanted = (names,) if isinstance(names, str) else tuple(names)
    for name in wanted:
        if name not in axes:
            msg = f"{promise}: {unknown('axis', name, axes)}"
            raise UsageError(msg)
    return tuple(dict.fromkeys(wanted))
