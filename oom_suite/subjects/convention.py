"""Whether code can be called as a workload calls it: by keyword, with what its builder gives."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from oom_suite.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from oom_suite.records import Workload
    from oom_suite.records.workload import Convention

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
_COLLECTING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def convention_of(workload: Workload) -> Convention:
    """How the workload calls its subjects.

    Raises:
        SubjectError: it takes no subjects.
    """
    if workload.convention is None:
        raise SubjectError(
            f"the workload {workload.name} makes its call itself: it takes no subject"
        )
    return workload.convention


def takes(parameters: Sequence[inspect.Parameter], workload: Workload) -> bool:
    """Whether a function with these parameters can be called as the workload calls it."""
    if workload.convention is None:
        return False
    return not (
        _not_taken(parameters, workload.convention) or _extras(parameters, workload.convention)
    )


def names_one(parameters: Iterable[inspect.Parameter]) -> bool:
    """Whether a parameter has a name that a caller could know it by: ``**kwargs`` has none."""
    return any(p.kind not in _COLLECTING for p in parameters)


def fitted(function: Callable[..., Any], workload: Workload, name: str) -> Callable[..., Any]:
    """The function itself, or without the optional keywords that it does not take.

    Raises:
        SubjectError: a keyword is not taken, or another parameter is required.
    """
    extras = required_extras(function, workload, name)
    convention = convention_of(workload)
    if extras:
        msg = (
            f"{name} requires {_listed(extras)}, which the workload {workload.name} does not give: "
            f"call it from a function of your own that takes {', '.join(convention.keywords)}"
        )
        raise SubjectError(msg)
    parameters = tuple(inspect.signature(function).parameters.values())
    left_out = frozenset(convention.optional) - _taken(parameters, convention)
    if not left_out:
        return function

    @functools.wraps(function)
    def call(**keywords: Any) -> Any:
        return function(**{k: value for k, value in keywords.items() if k not in left_out})

    return call


def required_extras(function: Callable[..., Any], workload: Workload, name: str) -> tuple[str, ...]:
    """The parameters without a default that a call with the workload's keywords leaves out.

    Raises:
        SubjectError: it does not take one of the keywords, or has no signature.
    """
    convention = convention_of(workload)
    try:
        parameters = tuple(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        msg = (
            f"{name} has no signature that Python can read: wrap it in a def that takes "
            f"{', '.join(convention.keywords)}"
        )
        raise SubjectError(msg) from error
    missing = _not_taken(parameters, convention)
    if missing:
        msg = (
            f"{name} does not take {_listed(missing)} by keyword: the workload {workload.name} "
            f"calls it with {', '.join(convention.keywords)} (or **kwargs)"
        )
        raise SubjectError(msg)
    return _extras(parameters, convention)


def _taken(parameters: Iterable[inspect.Parameter], convention: Convention) -> frozenset[str]:
    """The convention's keywords that can be given."""
    parameters = tuple(parameters)
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return frozenset(convention.keywords)
    keywords = frozenset(p.name for p in parameters if p.kind not in _POSITIONAL)
    return keywords.intersection(convention.keywords)


def _not_taken(parameters: Iterable[inspect.Parameter], convention: Convention) -> tuple[str, ...]:
    taken = _taken(parameters, convention) | frozenset(convention.optional)
    return tuple(keyword for keyword in convention.keywords if keyword not in taken)


def _extras(parameters: Iterable[inspect.Parameter], convention: Convention) -> tuple[str, ...]:
    return tuple(
        p.name
        for p in parameters
        if p.default is inspect.Parameter.empty
        and p.kind not in _COLLECTING
        and (p.name not in convention.keywords or p.kind is inspect.Parameter.POSITIONAL_ONLY)
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
