"""The decorator: a builder becomes one pytest test."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from oom_suite.errors import UsageError
from oom_suite.pipeline.law_tests.promise import Promise, promise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    P = ParamSpec("P")
    R = TypeVar("R")

RUNNER = "oom_law"
"""The fixture that runs a decorated test."""

BUILDER_PARAMETERS = ("sizes", "device")
_MARK = "__oom_declaration__"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the decorator leaves on a function.

    Attributes:
        build: the function as it was written.
        promise: what it promises; None where that cannot be read.
        error: why it cannot be read, in one line; empty where it can.
    """

    build: Callable[..., Any]
    promise: Promise | None
    error: str = ""


def declaration_of(function: object) -> Declaration | None:
    """What a decorated function declares; None for any other object."""
    found = getattr(function, _MARK, None)
    return found if isinstance(found, Declaration) else None


def memory_law(
    *,
    axes: Mapping[str, int],
    independent_of: str | Iterable[str] = (),
    at_most: str | None = None,
    linear_in: str | Iterable[str] = (),
    constant: bool = False,
    bounded_in: str | Iterable[str] = (),
    constant_after: Mapping[str, int] | None = None,
    covered_by: str | int | Mapping[str, int] | None = None,
    box: Mapping[str, int | tuple[int, int]] | None = None,
    steps: Mapping[str, int] | None = None,
    far: Mapping[str, Sequence[int]] | None = None,
    lower: Mapping[str, int] | None = None,
    production: Mapping[str, int] | None = None,
    measure: bool = True,
    budget: str | None = None,
    law: str = "",
    host: bool = True,
    target: str | Iterable[str] = (),
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator that makes ``function(sizes, device) -> call`` a test of the call's memory.

    The function makes the inputs and returns what is to be judged, bound to them; what the
    inputs take is not in the law. pytest collects it as one test; further parameters are those
    of ``pytest.mark.parametrize`` and fixtures, if they can be pickled.

    Args:
        axes: the sizes that the law is found over, each with the value to test with.
        independent_of: one axis or several that the peak must not depend on.
        at_most: what the peak must not exceed: ``"4*num_tokens*topk*1KiB + 64MiB"``.
        linear_in: axes that the peak may grow at most linearly with.
        constant: whether the peak must be the same at all sizes.
        bounded_in: one axis or several that the peak must stop to grow with: from some size on it
            stays as it is, and reports say from which.
        constant_after: the same from sizes that are named: ``{"num_tokens": 1024}``.
        covered_by: what a profile run took, ``"512MiB"``, or the sizes that it ran this code at:
            the peak must be nowhere in `box` above it.
        box: the sizes that can come after the profile run: ``{"num_tokens": (1, 8192)}``; other
            axes stay at their production sizes.
        steps: distance between neighbouring sizes of an axis, where code needs multiples.
        far: sizes of an axis, well away from its default, that the law is checked at.
        lower: smallest size of an axis that has a meaning; 1 where not given.
        production: sizes that no test could allocate; the shadow lane runs there.
        measure: whether to run with real tensors as well, at the sizes in `axes`: on the CPU,
            or on the device of ``--oom-device``.
        budget: what the peak has to fit in, a device (``MI325X``) or bytes (``12.74GiB``).
        law: the law itself, as reports show it (``"128*num_tokens"``); any other fails.
        host: whether all but ``law`` and ``budget`` is promised of the host's memory as well.
        target: the device that it is for, or several: ``"cuda:sm_90"``, ``("H200", "MI325X")``;
            what ``--oom-target`` says where not given.

    What cannot be used is reported when pytest collects the test, in one line.

    Does not prove: what the shadow lane does not (see ``docs/memory_law.md``).
    """
    given = {name: value for name, value in locals().items() if name in _PARAMETERS}

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        declaration = _declare(function, given)

        @functools.wraps(function)
        def test(*args: Any, **kwargs: Any) -> Any:
            run = kwargs.pop(RUNNER, None)
            if run is None:
                return function(*args, **kwargs)
            __tracebackhide__ = True
            return run.test(test, args, kwargs)

        vars(test).update({_MARK: declaration, "__signature__": _signature(function)})
        return test

    return decorate


_PARAMETERS = frozenset(inspect.signature(memory_law).parameters)


def _declare(function: Callable[..., Any], given: Mapping[str, Any]) -> Declaration:
    parameters = inspect.signature(function).parameters
    missing = [name for name in BUILDER_PARAMETERS if name not in parameters]
    if missing:
        named = " and ".join(missing)
        error = f"a memory_law test takes sizes and device; this one does not take {named}"
        return Declaration(function, None, error)
    try:
        return Declaration(function, promise(**given))
    except UsageError as error:
        return Declaration(function, None, str(error))


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """The signature that pytest reads: the runner in place of what the runner passes itself."""
    signature = inspect.signature(function)
    kept = [p for name, p in signature.parameters.items() if name not in BUILDER_PARAMETERS]
    runner = inspect.Parameter(RUNNER, inspect.Parameter.KEYWORD_ONLY)
    return signature.replace(parameters=[*kept, runner], return_annotation=None)
