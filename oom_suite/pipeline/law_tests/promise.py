"""What a `memory_law` test says: its axes, its promise, and how it is to be judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.errors import UsageError, unknown
from oom_suite.laws.contracts import contract
from oom_suite.laws.contracts import covered_by as read_covered_by
from oom_suite.pipeline.law_tests.sizes import RESERVED
from oom_suite.pipeline.settings import Settings
from oom_suite.records import Axis, Workload
from oom_suite.targets.budgets import Budget, budget
from oom_suite.targets.target import targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_LARGEST_STEP = 64
_SMALL = 16
_SHORT = 3
"""Names up to this length are taken for no plural: ``gas``, ``bus``."""

_FAR = (4, 32)
_FAR_FORBIDDEN = (8, 256)
"""How many times its default an axis is set to; a pool is far larger than the test's."""


@dataclass(frozen=True, slots=True)
class Promise:
    """Axes and promises, checked.

    Attributes:
        workload: the axes and the contract; its builder's name is for messages alone.
        defaults: the sizes that the test runs and measures at.
        production: the sizes that the shadow runs at; the defaults where none were given.
        measure: whether to run with real tensors too.
        budget: what the peak has to fit in; None for no budget.
        law: the law itself, as text; empty where any law will do that keeps the contract.
        targets: whom it is for; empty where the run says.
    """

    workload: Workload
    defaults: Mapping[str, int]
    production: Mapping[str, int]
    measure: bool
    budget: Budget | None
    law: str
    targets: tuple[str, ...] = ()

    @property
    def scenario(self) -> str:
        """``production`` where such sizes were given, else ``default``."""
        return "default" if self.production == self.defaults else "production"

    def settings(
        self,
        device: str,
        budget: Budget | None,
        time_limit_s: float,
        whole_limit_s: float | None = None,
    ) -> Settings:
        """How it is judged.

        Args:
            device: where it is measured beside the shadow lane.
            budget: what the peak has to fit in, where the promise names nothing itself.
            time_limit_s: seconds that one run may take.
            whole_limit_s: seconds that all of them may take together; None for no limit.
        """
        return Settings(
            scenario=self.scenario,
            sizes=self.production,
            workload=self.workload,
            device=device,
            budget=self.budget or budget,
            time_limit_s=time_limit_s,
            whole_limit_s=whole_limit_s,
            beside_sizes=self.defaults if self.measure else None,
            law_text=self.law,
            suggest=True,
        )


def promise(
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
) -> Promise:
    """The promise that these arguments of `memory_law` make.

    Raises:
        UsageError: one of them cannot be used; one line says which, and what to write.
    """
    defaults = checked_sizes("axes", axes)
    if not defaults:
        raise UsageError("axes: name at least one, such as axes={'num_tokens': 4}")
    named = contract(
        tuple(defaults),
        independent_of=independent_of,
        at_most=at_most,
        linear_in=linear_in,
        constant=constant,
        bounded_in=bounded_in,
        constant_after=constant_after,
        covered_by=read_covered_by(covered_by, box, tuple(defaults)),
    )
    if named.is_empty and not (budget or law):
        raise UsageError(
            "nothing is promised: give independent_of, at_most, linear_in, constant, bounded_in, "
            "constant_after, covered_by, law or budget"
        )
    largest = {**defaults, **checked_sizes("production", production or {}, defaults)}
    chosen = varied_axes(
        defaults, largest, frozenset(named.independent_of), steps=steps, far=far, lower=lower
    )
    return Promise(
        workload=Workload("memory_law", chosen, builder="", contract=named, host=host),
        defaults=defaults,
        production=largest,
        measure=measure,
        budget=None if budget is None else _budget(budget),
        law=law,
        targets=_targets(target),
    )


def _targets(given: str | Iterable[str]) -> tuple[str, ...]:
    try:
        return targets(given if isinstance(given, str) else ",".join(given))
    except UsageError as error:
        raise UsageError(f"target: {error}") from None


def varied_axes(
    defaults: Mapping[str, int],
    largest: Mapping[str, int],
    forbidden: frozenset[str] = frozenset(),
    *,
    steps: Mapping[str, int] | None = None,
    far: Mapping[str, Sequence[int]] | None = None,
    lower: Mapping[str, int] | None = None,
) -> tuple[Axis, ...]:
    """How each axis is varied to find a law.

    Args:
        defaults: the axes, each with the size that the law begins at.
        largest: the largest sizes that are asked about.
        forbidden: axes that the peak must not depend on.
        steps: distances between neighbouring sizes; where not given, what keeps them divisible.
        far: sizes far away; where not given, the least, the largest, and multiples.
        lower: the smallest sizes with a meaning; 1 where not given.

    Raises:
        UsageError: one of them cannot be used.
    """
    at_least = checked_sizes("lower", lower or {}, defaults)
    given_steps = checked_sizes("steps", steps or {}, defaults)
    given_far = {name: _far(name, values, defaults) for name, values in (far or {}).items()}
    for name, size in defaults.items():
        if size < at_least.get(name, 1):
            raise UsageError(f"axes: {name}={size:,} is below its lower={at_least[name]:,}")
    return tuple(
        Axis(
            name,
            step=given_steps.get(name, _step(largest[name])),
            far=given_far.get(name)
            or _farther(size, largest[name], at_least.get(name, 1), name in forbidden),
            lower=at_least.get(name, 1),
            unit=_unit(name),
            declared=given_far.get(name, ()),
        )
        for name, size in defaults.items()
    )


def checked_sizes(what: str, values: Any, axes: Mapping[str, int] | None = None) -> dict[str, int]:
    """Whole numbers from 1 by name; the names are axes where those are given.

    Args:
        what: the argument's name, for the error.
        values: what was given.
        axes: the names that are allowed; None for any that Python allows.

    Raises:
        UsageError: a name or a size cannot be used.
    """
    try:
        items = dict(values).items()
    except (TypeError, ValueError):
        raise UsageError(f"{what}: {values!r} is not a mapping from names to sizes") from None
    for name, size in items:
        if not isinstance(name, str) or not name.isidentifier() or name[0] == "_":
            raise UsageError(f"{what}: {name!r} cannot name a size: use a Python name")
        if name in RESERVED:
            raise UsageError(f"{what}: {name!r} cannot name a size: choose another name")
        if axes is not None and name not in axes:
            raise UsageError(f"{what}: {unknown('axis', name, axes)}")
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise UsageError(f"{what}: {name}={size!r} is not a size: give a whole number from 1")
    return dict(items)


def _far(name: str, values: Any, axes: Mapping[str, int]) -> tuple[int, ...]:
    try:
        listed = tuple(values)
    except TypeError:
        raise UsageError(f"far: {name}={values!r}: give several sizes, such as (1, 4096)") from None
    for value in listed:
        checked_sizes("far", {name: value}, axes)
    return listed


def _budget(text: str) -> Budget:
    try:
        return budget(text)
    except UsageError as error:
        raise UsageError(f"budget: {error}") from None


def _step(size: int) -> int:
    """The distance that keeps a size as divisible as it is: pools by 64, a few tokens by one."""
    if size < _SMALL:
        return 1
    return min(size & -size, _LARGEST_STEP)


def _farther(size: int, production: int, lower: int, is_forbidden: bool) -> tuple[int, ...]:
    factors = _FAR_FORBIDDEN if is_forbidden else _FAR
    values = (lower, size, production, *(size * factor for factor in factors))
    return tuple(dict.fromkeys(values))


def _unit(name: str) -> str:
    """``block`` for ``num_blocks``, ``token`` for ``tokens``; the name where it is no plural."""
    word = name.removeprefix("num_")
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word.removesuffix("es")
    is_plural = len(word) > _SHORT and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    if is_plural:
        return word.removesuffix("s")
    return name
