"""What is known of a planted fault and of a healthy twin before any detector has seen it.

Both are declared beside the function, so that a new one is written in one place:

```python
@mutant(LAW, along=())
def byte_per_block(**step):
    \"\"\"A byte of state for each block.\"\"\"
```

The line below the ``def`` is what reports say of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from oom_suite.errors import UsageError, unknown
from oom_suite.records.safety import PROPERTIES
from oom_suite.records.selfcheck import TWINS_GROUP, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from oom_suite.records import Workload

    Declared = TypeVar("Declared", bound=Callable[..., Any])

LAW = "law"
"""The detector of growth; the others are named as in `oom_suite.records.safety.PROPERTIES`."""

_NAME_A_FUNCTION = frozenset({"capture", "creep"})
"""Properties whose hits name the line of the step that is wrong."""

_SEARCHING = frozenset({LAW, "reads"})
"""Detectors that take many runs; the others try a step in a moment on either layer."""

_TWO_POOLS, _ONE_POOL = "decode", "decode-swa"
_MARK = "__oom_subject__"


@dataclass(frozen=True, slots=True)
class Promised:
    """What a builder that is no decode step promises, in the words of `memory_law`.

    Attributes:
        axes: the sizes to test with.
        independent_of: axes that the peak must not depend on.
        at_most: what the peak must not exceed; empty where nothing is said.
        far: sizes of an axis to check at; chosen where not given.
    """

    axes: Mapping[str, int]
    independent_of: tuple[str, ...] = ()
    at_most: str = ""
    far: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What the self-check tries a detector on.

    Attributes:
        spelling: its function, ``"module:function"``, which any process can import.
        group: what it is counted with; for the suite's own the name of its file.
        about: what is wrong with it, or unusual about it, in one line.
        workload: the name of the workload that it is called with; empty for a builder of its
            own, which is called with the sizes that `promised` names.
        quick_workload: a smaller workload that shows the same, with which it is tried instead;
            empty where there is none.
        along: axes that its law is sought along beside those that the workload's contract
            forbids; None for all.
        promised: for a builder of its own, what it promises.
        is_stateful: whether it keeps something between calls, so that it needs a process of its
            own.
    """

    is_twin: ClassVar[bool] = False

    spelling: str
    group: str
    about: str
    workload: str = _TWO_POOLS
    quick_workload: str = ""
    along: tuple[str, ...] | None = None
    promised: Promised | None = None
    is_stateful: bool = False

    @property
    def function(self) -> str:
        """The function's own name."""
        return self.spelling.rpartition(":")[2]

    @property
    def name(self) -> str:
        """How it is called in reports, ``growth:byte_per_block``."""
        return f"{self.group}:{self.function}"

    def in_cheapest_form(self) -> Self:
        """The same, with the smallest workload that shows what it is about."""
        return replace(self, workload=self.quick_workload or self.workload, quick_workload="")

    @property
    def expected_names(self) -> tuple[str, ...]:
        """What it may be called: nothing, unless a fault was planted."""
        return ()

    def trial(
        self, detector: str, verdict: str, named: tuple[str, ...], reason: str, elapsed_ms: int
    ) -> Trial:
        """What a detector said of it, beside what it should say."""
        return Trial(
            name=self.name,
            group=TWINS_GROUP if self.is_twin else self.group,
            is_twin=self.is_twin,
            detector=detector,
            about=self.about,
            verdict=verdict,
            named=tuple(dict.fromkeys(named)),
            expected=self.expected_names,
            reason=reason,
            elapsed_ms=elapsed_ms,
            breaks=isinstance(self, Twin) and detector in self.breaks,
        )

    def narrowed(self, workload: Workload) -> Workload:
        """The workload with the axes alone that this subject's law is sought along."""
        if self.along is None:
            return workload
        kept = {*workload.contract.independent_of, *self.along}
        return replace(workload, axes=tuple(axis for axis in workload.axes if axis.name in kept))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant(Subject):
    """A step with one planted fault.

    Attributes:
        detector: the one meant for it, ``"law"`` or one of `PROPERTIES`.
        expected: the names that are right. For the law the functions whose line may be blamed;
            for a property the kinds of hit.
        places: functions that a hit's line may stand in; empty where a hit has no line.
    """

    detector: str
    expected: tuple[str, ...]
    places: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a detector that there is not, and a fault that no name is right for."""
        if self.detector not in {LAW, *PROPERTIES}:
            raise unknown("detector", self.detector, (LAW, *PROPERTIES))
        if not self.expected:
            raise UsageError(f"{self.spelling} is a fault without a name that is expected of it")

    @property
    def expected_names(self) -> tuple[str, ...]:
        """What it may be called: a kind, and where a hit has a line, its function too."""
        if not self.places:
            return self.expected
        return tuple(f"{kind} in {place}" for kind in self.expected for place in self.places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin(Subject):
    """A healthy step that is unusual and right: no detector may raise an alarm.

    Attributes:
        breaks: properties that it breaks by its nature, so that an alarm is right there.
    """

    is_twin: ClassVar[bool] = True

    breaks: tuple[str, ...] = ()


def mutant(
    detector: str,
    *expected: str,
    places: tuple[str, ...] = (),
    workload: str = _TWO_POOLS,
    about_two_pools: bool = False,
    along: tuple[str, ...] | None = None,
    promised: Promised | None = None,
    is_stateful: bool = False,
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
    """

    def declare(function: Declared) -> Declared:
        own = (function.__name__,)
        is_quick = detector in _SEARCHING and not about_two_pools
        record = Mutant(
            **_of(function, workload, promised, is_quick=is_quick),
            along=along,
            is_stateful=is_stateful,
            detector=detector,
            expected=expected or own,
            places=places or (own if detector in _NAME_A_FUNCTION else ()),
        )
        setattr(function, _MARK, record)
        return function

    return declare


def twin(
    *,
    workload: str = _TWO_POOLS,
    about_two_pools: bool = False,
    along: tuple[str, ...] | None = None,
    breaks: tuple[str, ...] = (),
    promised: Promised | None = None,
    is_stateful: bool = False,
) -> Callable[[Declared], Declared]:
    """A decorator that declares a function to be unusual and right; arguments as of `mutant`."""

    def declare(function: Declared) -> Declared:
        record = Twin(
            **_of(function, workload, promised, is_quick=not about_two_pools),
            along=along,
            is_stateful=is_stateful,
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
        "quick_workload": _ONE_POOL if is_quick and workload == _TWO_POOLS and not promised else "",
        "promised": promised,
    }


def declared_in(module: ModuleType) -> tuple[Subject, ...]:
    """What the module's own functions are declared to be, in the order of the file."""
    found = (getattr(each, _MARK, None) for each in vars(module).values())
    spelled = f"{module.__name__}:"
    return tuple(
        one for one in found if isinstance(one, Subject) and one.spelling.startswith(spelled)
    )
