"""A workload: the axes a call is built from, its builder, its promise, and what checks may use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from oom_suite.errors import UsageError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from oom_suite.records.law import Contract


@dataclass(frozen=True, slots=True)
class Axis:
    """A named size.

    Attributes:
        name: its name, everywhere the same.
        step: distance between the sizes that its polynomial is fitted to.
        far: sizes well away from any scenario, small and large, that a law is checked on.
        lower: smallest value with a meaning.
        unit: what one of it is called in a sentence, for example ``"block"``.
        declared: those of `far` that were asked for: a run is made there however long it takes.
    """

    name: str
    step: int
    far: tuple[int, ...]
    lower: int = 1
    unit: str = "unit"
    declared: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """The sizes of one call.

    Attributes:
        name: how it is asked for.
        sizes: the value of every axis, and of whatever else the builder reads.
        summary: one line: what it stands for.
        free_bytes: what the device had free, where a report says so; otherwise None.
    """

    name: str
    sizes: Mapping[str, int]
    summary: str
    free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Convention:
    """How a subject is called: by keyword, always.

    Attributes:
        keywords: all that the builder gives.
        optional: those of them that a subject need not take; it is called without them then.
        output: the keyword of the tensor that the subject writes; empty where it returns it.
        gradients: whether the call is made with gradients on.
        in_place: keywords of tensors that the subject may write its result into.
    """

    keywords: tuple[str, ...]
    optional: tuple[str, ...] = ()
    output: str = ""
    gradients: bool = False
    in_place: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a family of subjects has its code for a workload.

    Attributes:
        file: from the root of its source tree.
        functions: names that the function has or had, the one to prefer first; that of a method
            is written ``Class.method``.
        what: what the code is, for the message that there is none.
        first_release: the first release that has it; empty where that is not known.
        adapt: ``"module:function"`` where the code is called in another way than the convention:
            ``function(released)`` gives what takes the convention's keywords.
        unfit: ``"module:function"`` where some releases read other contents than the workload's
            variants have: ``function(version, arch)`` says why, and is empty where they fit.
        elsewhere: files that it is in where `file` does not exist, in other releases.
        beside: further files of a release that are loaded as they are, and not stubs.
        stubs: other packages that are replaced by stubs: their absence is to change nothing.
    """

    file: str
    functions: tuple[str, ...]
    what: str
    first_release: str = ""
    adapt: str = ""
    unfit: str = ""
    elsewhere: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    stubs: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Where it may be, the place to prefer first."""
        return (self.file, *self.elsewhere)


@dataclass(frozen=True, slots=True)
class Builtin:
    """A subject that a workload brings along.

    Attributes:
        code: ``"module:function"``.
        known_bug: what it reproduces, where it is expected to break the contract.
        breaches: the safety properties that it is expected to break.
        by_default: whether it is a subject where none is named.
    """

    code: str
    known_bug: str = ""
    breaches: tuple[str, ...] = ()
    by_default: bool = True


@dataclass(frozen=True, slots=True)
class Pool:
    """A paged pool among the arguments of a call.

    Attributes:
        name: its keyword: a tensor [num_blocks, block_size, ...], strided in its first dimension
            at most, or None where a call has none.
        indices: the keyword of the integers that name parts of it, a row for each of `lens`;
            negative ones are padding.
        lens: the keyword of the integers that say how much of each row counts; empty where all.
        names: what an index is: a slot, block * block_size + offset, or a block. Lens count slots
            either way.
    """

    name: str
    indices: str
    lens: str = ""
    names: Literal["slots", "blocks"] = "slots"


def _as_they_are(sizes: Mapping[str, int]) -> Mapping[str, int]:
    return dict(sizes)


@dataclass(frozen=True, slots=True)
class Workload:
    """What is run, whoever runs it.

    Attributes:
        name: its name on the command line.
        axes: the sizes that a law is found over; others of a scenario are held.
        builder: ``"module:function"``; ``function(sizes, device)`` gives the keyword
            arguments of the call.
        contract: what every subject promises.
        host: whether that is promised of the host's memory too, beside the device's.
        settle: the nearest sizes that can be built, a dependent axis following the others;
            None when there are none.
        leaves_inputs_untouched: whether the builder only reserves its inputs' memory, so that they
            take none until the call touches them.
        convention: how subjects are called; None where the builder makes the call itself.
        scenarios: its named sizes.
        default_scenario: the one that is used when none is asked for; empty for the first.
        together: a name for several axes that are set at once, such as ``num_blocks``.
        entries: where families of subjects have their code for it, by the family's name.
        builtins: the subjects that come with it, by name.
        pools: which arguments are paged pools, and what names their parts.
        variants: ``"module:object"``, a `oom_suite.workloads.variants.Variants`: small steps with
            contents; empty for none.
        oracle: ``"module:function"``; ``function(step, **arguments)`` gives what a step must give,
            in float64 on the CPU; the arguments are the variant's. Empty for none.
        tolerance: ``"module:function"``; ``function(step, expected, **arguments)`` gives how far
            from that a correct result may be. Empty for none.
        is_assumed: whether code is taken to be for it whose parameters cannot be read.
        is_scanned_alone: whether `scan` alone looks at it unasked; `check` where it is named.
        scanned: the scenarios that `scan` looks at; empty for the default one.
        by_design: axes of capacities that the bound allows for, each with the reason.
        made_for: the kind of device that the code is made for, ``"cuda"``, ``"rocm"`` or
            ``"cpu"``; empty for any.
    """

    name: str
    axes: tuple[Axis, ...]
    builder: str
    contract: Contract
    host: bool = field(default=True, kw_only=True)
    settle: Callable[[Mapping[str, int]], Mapping[str, int] | None] = field(default=_as_they_are)
    leaves_inputs_untouched: bool = False
    convention: Convention | None = None
    scenarios: Mapping[str, Scenario] = field(default_factory=dict, hash=False)
    default_scenario: str = ""
    together: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    entries: Mapping[str, Entry] = field(default_factory=dict, hash=False)
    builtins: Mapping[str, Builtin] = field(default_factory=dict, hash=False)
    pools: tuple[Pool, ...] = ()
    variants: str = ""
    oracle: str = ""
    tolerance: str = ""
    is_assumed: bool = False
    is_scanned_alone: bool = False
    scanned: tuple[str, ...] = ()
    by_design: Mapping[str, str] = field(default_factory=dict, hash=False)
    made_for: Literal["", "cuda", "rocm", "cpu"] = ""

    def is_valid(self, sizes: Mapping[str, int]) -> bool:
        """Whether these very sizes can be built."""
        return self.settle(sizes) == dict(sizes)

    def unit_of(self, axis: str) -> str:
        """What one of that axis is called in a sentence."""
        return next((a.unit for a in self.axes if a.name == axis), "unit")

    def scenario(self, name: str | None = None) -> Scenario:
        """The scenario of this name; the default one for None.

        Raises:
            UsageError: no such scenario; the message names the nearest.
        """
        wanted = name or self.default_scenario or next(iter(self.scenarios), "")
        if wanted not in self.scenarios:
            raise unknown(f"scenario of the workload {self.name}", wanted, self.scenarios)
        return self.scenarios[wanted]

    def knows(self, scenario: str | None, axes: Iterable[str]) -> bool:
        """Whether it has a scenario of this name, and sizes of these names."""
        if scenario is not None and scenario not in self.scenarios:
            return False
        named = self.scenario(scenario).sizes.keys() | self.together.keys()
        return named >= set(axes)

    def resize(self, sizes: Mapping[str, int], overrides: Mapping[str, int]) -> dict[str, int]:
        """The sizes with some axes replaced, as `resize` gives them."""
        return resize(sizes, overrides, self.settle, self.together)


MAX_SIZE = 2**40
"""The largest size: as many single bytes are 1 TiB."""


def resize(
    sizes: Mapping[str, int],
    overrides: Mapping[str, int],
    settle: Callable[[Mapping[str, int]], Mapping[str, int] | None],
    together: Mapping[str, tuple[str, ...]],
) -> dict[str, int]:
    """The sizes with some axes replaced, checked to be possible together.

    An axis that the caller did not set follows the others to what can be built; one that he set
    must be possible. Where nothing near can be built, the builder says why.

    Args:
        sizes: a value for each axis.
        overrides: new values by axis, or by a name in `together`; an axis's own wins.
        settle: as of `Workload`.
        together: as of `Workload`.

    Raises:
        UsageError: an unknown axis, a value below 1 or above `MAX_SIZE`, or one that is not
            possible.
    """
    for axis, value in overrides.items():
        if axis not in sizes and axis not in together:
            raise unknown("axis", axis, (*sizes, *together))
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            msg = f"{axis} is {value!r}: choose a whole number of at least 1"
            raise UsageError(msg)
        if value > MAX_SIZE:
            msg = f"{axis} is {value}: choose at most {MAX_SIZE:,}, more than any device could hold"
            raise UsageError(msg)
    wanted = dict(sizes)
    for name, axes in together.items():
        if name in overrides:
            wanted |= dict.fromkeys(axes, overrides[name])
    wanted |= {axis: value for axis, value in overrides.items() if axis in sizes}
    settled = settle(wanted)
    if settled is None:
        return wanted
    for axis in overrides.keys() & sizes.keys():
        if settled[axis] != wanted[axis]:
            bound = "at most" if settled[axis] < wanted[axis] else "at least"
            msg = f"{axis} is {wanted[axis]}: {bound} {settled[axis]} is possible at these sizes"
            raise UsageError(msg)
    return dict(settled)
