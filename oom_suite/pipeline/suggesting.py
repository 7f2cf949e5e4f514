"""Which promise would hold, where one is broken: weaker ones, tried in turn and judged in full."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError, UsageError
from oom_suite.laws.contracts import parse_bound
from oom_suite.records import Contract, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from oom_suite.records import Bound, Law, Polynomial, Result

    Again = Callable[[Contract], Result]


def with_suggestion(result: Result, contract: Contract, again: Again) -> Result:
    """The result; where its contract is broken, with the arguments of one that is kept.

    Args:
        result: the verdict.
        contract: what was promised.
        again: judges another contract, from runs that were made and what it needs besides.

    **Does not prove:** that the promise is the one that the code should keep.
    """
    if result.verdict is not Verdict.FAIL or result.leaks or result.holds or contract.is_empty:
        return result
    if contract.covered_by is not None:
        # What a profile run took is a fact, and not to be chosen.
        return result
    for weaker in _weaker(result, contract):
        try:
            judged = again(weaker)
        except OomSuiteError:
            continue
        if judged.verdict is Verdict.PASS:
            flat = (f"flat from {axis}={size:,} on" for axis, size in judged.flat_from.items())
            return replace(result, holds=arguments(weaker), holds_because=", ".join(flat))
    return result


def arguments(contract: Contract) -> str:
    """The contract as arguments of `memory_law`: ``bounded_in="tokens", at_most="8*tokens"``."""
    named = {
        "independent_of": contract.independent_of,
        "bounded_in": contract.bounded_in,
        "linear_in": contract.linear_in,
    }
    parts = [f"{name}={_listed(axes)}" for name, axes in named.items() if axes]
    if contract.constant_after:
        sizes = ", ".join(f'"{axis}": {size}' for axis, size in contract.constant_after)
        parts.append(f"constant_after={{{sizes}}}")
    if contract.at_most is not None:
        parts.append(f'at_most="{contract.at_most}"')
    return ", ".join(parts)


def _listed(axes: Sequence[str]) -> str:
    shown = ", ".join(f'"{axis}"' for axis in axes)
    return shown if len(axes) == 1 else f"[{shown}]"


def _weaker(result: Result, contract: Contract) -> Iterator[Contract]:
    """Contracts that say less, the strongest first."""
    started = dict(contract.constant_after)
    flat = tuple(dict.fromkeys((*contract.independent_of, *started)))
    if flat:
        guilty = _guilty(result, flat)
        kept = tuple(axis for axis in contract.independent_of if axis not in guilty)
        left = tuple(item for item in contract.constant_after if item[0] not in guilty)
        bounded = _union(contract.bounded_in, guilty)
        weaker = replace(contract, independent_of=kept, constant_after=left)
        yield replace(weaker, bounded_in=bounded)
        for axis in guilty if len(guilty) > 1 else ():
            rest = tuple(other for other in guilty if other != axis)
            ends = _union(contract.bounded_in, (axis,))
            yield replace(weaker, bounded_in=ends, linear_in=_union(contract.linear_in, rest))
        yield replace(weaker, linear_in=_union(contract.linear_in, guilty))
        contract = weaker
    if contract.bounded_in:
        rising = _union(contract.linear_in, contract.bounded_in)
        contract = replace(contract, bounded_in=())
        yield replace(contract, linear_in=rising)
    bound = None if result.law is None else _bound_of(result.law)
    if bound is not None:
        yield replace(contract, linear_in=(), at_most=bound)
        yield Contract(at_most=bound)


def _union(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *other)))


def _guilty(result: Result, axes: tuple[str, ...]) -> tuple[str, ...]:
    """Those axes that the breach speaks of; all where it does not say."""
    breach = result.breach
    named = frozenset() if breach is None else frozenset().union(*(t.axes for t in breach.terms))
    named |= {blame.axis for blame in result.blame}
    return tuple(axis for axis in axes if axis in named) or axes


def _bound_of(law: Law) -> Polynomial | Bound | None:
    """The law itself as a bound; None where it is not one, because something is taken away."""
    text = str(law)
    try:
        return parse_bound(text, tuple(law.sizes))
    except UsageError:
        return None
