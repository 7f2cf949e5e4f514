"""Declares planted faults and healthy twins beside their functions.

A new one is written in one place:

```python
@mutant(LAW, along=())
def byte_per_block(**step):
    '''A byte of state for each block.'''
```

The first line of its docstring is what reports say of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, TypeVar

from oom_suite.errors import UsageError
from oom_suite.records.selfcheck import LIMIT_GROUP, TWINS_GROUP
from oom_suite.selfcheck.faults.record import LAW, ONE_POOL, TWO_POOLS, Mutant, Subject, Twin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

    from oom_suite.selfcheck.faults.record import Promised

    Declared = TypeVar("Declared", bound=Callable[..., Any])

_NAME_A_FUNCTION = frozenset({"capture", "creep"})
"""Properties whose hits name the line of the step that is wrong."""

_SEARCHING = frozenset({LAW, "reads"})
"""Detectors that take many runs; the others try a step in a moment on either layer."""

_MARK = "__oom_subject__"


def mutant(
    detector: str,
    *expected: str,
    places: tuple[str, ...] = (),
    workload: str = TWO_POOLS,
    about_two_pools: bool = False,
    along: tuple[str, ...] | None = None,
    promised: Promised | None = None,
    is_stateful: bool = False,
    launches_kernels: bool = False,
) -> Callable[[Declared], Declared]:
    """A decorator that declares a function to have one planted fault.

    Args:
        detector: as of `Mutant`.
        expected: as of `Mutant`; the function itself where none is given.
        places: as of `Mutant`; where the detector names lines and none is given, the function.
        workload: as of `Subject`.
        about_two_pools: whether a decode step shows it only on a layer with both pools. Both are
            read with the same lines: on a layer with one pool a law has half the operators and
            fewer axes, and what an over-read reads is found in a fifth of the time.
        along: as of `Subject`.
        promised: as of `Subject`.
        is_stateful: as of `Subject`.
        launches_kernels: as of `Subject`.
    """

    def declare(function: Declared) -> Declared:
        own = (function.__name__,)
        is_quick = detector in _SEARCHING and not about_two_pools
        record = Mutant(
            **_of(function, workload, promised, is_quick=is_quick),
            detector=detector,
            along=along,
            is_stateful=is_stateful,
            launches_kernels=launches_kernels,
            expected=expected or own,
            places=places or (own if detector in _NAME_A_FUNCTION else ()),
        )
        setattr(function, _MARK, record)
        return function

    return declare


def twin(
    detector: str,
    *,
    workload: str = TWO_POOLS,
    about_two_pools: bool = False,
    along: tuple[str, ...] | None = None,
    breaks: tuple[str, ...] = (),
    promised: Promised | None = None,
    is_stateful: bool = False,
    launches_kernels: bool = False,
) -> Callable[[Declared], Declared]:
    """A decorator that declares a function to be unusual and right; arguments as of `mutant`."""

    def declare(function: Declared) -> Declared:
        record = Twin(
            **_of(function, workload, promised, is_quick=not about_two_pools),
            detector=detector,
            along=along,
            is_stateful=is_stateful,
            launches_kernels=launches_kernels,
            breaks=breaks,
        )
        setattr(function, _MARK, record)
        return function

    return declare


def _of(
    function: Callable[..., Any], workload: str, promised: Promised | None, *, is_quick: bool
) -> dict[str, Any]:
    """What the function itself says, and which workload it is tried with."""
    about = (function.__doc__ or function.__name__).partition("\n")[0].rstrip(".")
    first_word = about.partition(" ")[0]
    is_acronym = len(first_word) > 1 and first_word.isupper()
    return {
        "spelling": f"{function.__module__}:{function.__name__}",
        "group": function.__module__.rpartition(".")[2],
        "about": about if is_acronym else about[:1].lower() + about[1:],
        "workload": "" if promised else workload,
        "quick_workload": ONE_POOL if is_quick and workload == TWO_POOLS and not promised else "",
        "promised": promised,
    }


def declared_in(module: ModuleType) -> tuple[Subject, ...]:
    """What the module's own functions are declared to be, in the order of the file."""
    found = (getattr(each, _MARK, None) for each in vars(module).values())
    spelled = f"{module.__name__}:"
    return tuple(
        one for one in found if isinstance(one, Subject) and one.spelling.startswith(spelled)
    )


def each_once(registered: Iterable[str | Subject]) -> tuple[Subject, ...]:
    """The mutants and twins that these stand for, if their names tell them apart.

    Args:
        registered: records, and names of modules whose functions are declared.

    Raises:
        UsageError: a module cannot be imported, two have the same name, or one is in a group that
            has a meaning of its own.
    """
    found: dict[str, Subject] = {}
    for one in registered:
        for subject in _declared_by(one) if isinstance(one, str) else (one,):
            if subject.name in found:
                both = f"{found[subject.name].spelling} and {subject.spelling}"
                raise UsageError(f"two faults are called {subject.name}, {both}: rename one")
            reserved = {LIMIT_GROUP} if subject.is_twin else {LIMIT_GROUP, TWINS_GROUP}
            if subject.group in reserved:
                msg = f"{subject.spelling} is in the group {subject.group!r}, which has a meaning"
                raise UsageError(f"{msg} of its own: rename its file")
            found[subject.name] = subject
    return tuple(found.values())


def _declared_by(module: str) -> tuple[Subject, ...]:
    try:
        return declared_in(importlib.import_module(module))
    except Exception as error:
        first = (str(error).strip() or "no message").splitlines()[0]
        msg = f"the faults of {module} cannot be imported: {type(error).__name__}: {first}"
        raise UsageError(msg) from error
