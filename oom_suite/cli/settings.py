"""What the options spell: the settings of a run."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from oom_suite.doors import workload as find_workload
from oom_suite.errors import UsageError, unknown
from oom_suite.laws.lockfile import only_arch
from oom_suite.pipeline.free_budget import free_budget
from oom_suite.pipeline.settings import Settings
from oom_suite.subjects import builtin_names, parse, with_options, workloads_for
from oom_suite.targets.budgets import budget as find_budget
from oom_suite.targets.default import default_targets
from oom_suite.targets.target import target as find_target
from oom_suite.targets.target import targets as find_targets
from oom_suite.units import MIB, parse_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oom_suite.records import SubjectSpec

LANES = ("shadow", "measure")


def read_settings(
    scenario_name: str | None,
    overrides: list[str],
    workload: str,
    lane: str,
    device: str,
    target: str,
    budget: str | None,
    time_limit_s: float,
    memory_limit: str | None,
    unexplained: str = "0",
) -> Settings:
    """The settings that these options spell.

    Raises:
        UsageError: one of them is not understood.
    """
    if lane not in LANES:
        raise unknown("lane", lane, LANES)
    find_target(target)
    found = find_workload(workload)
    chosen = found.scenario(scenario_name)
    return Settings(
        scenario=chosen.name,
        sizes=found.resize(chosen.sizes, read_sizes(overrides)),
        workload=found,
        lane=lane,
        device=device,
        target=target,
        budget=None if budget is None else find_budget(budget, lambda: free_budget(device)),
        time_limit_s=time_limit_s,
        memory_limit_bytes=read_memory_limit(memory_limit),
        unexplained_bytes=_amount("--unexplained", unexplained, least_bare=0),
    )


def read_memory_limit(text: str | None) -> int | None:
    """The bytes of address space that a child may add; None for no limit.

    Raises:
        UsageError: it is not an amount, or none at all.
    """
    if text is None:
        return None
    if limit_bytes := _amount("--memory-limit", text):
        return limit_bytes
    raise UsageError(f"--memory-limit {text!r} leaves nothing to run in: give some, such as 2GiB")


def _amount(option: str, text: str, least_bare: int = MIB) -> int:
    try:
        return parse_bytes(text, least_bare=least_bare)
    except UsageError as error:
        raise UsageError(f"{option}: {error}") from None


def read_cases(
    subjects: Sequence[str],
    workload: str | None,
    read: Callable[[str], Settings],
    scenario: str | None,
    overrides: Sequence[str],
) -> list[tuple[SubjectSpec, Settings]]:
    """Each subject with the settings of each workload that it is judged for.

    Args:
        subjects: their spellings.
        workload: a workload's name; None for every one that a subject can take.
        read: the settings for a workload of that name.
        scenario: the scenario that was asked for; None for each workload's own.
        overrides: the sizes that were asked for. A workload that knows neither these axes nor
            this scenario is left out where another knows them.

    Raises:
        UsageError: a spelling cannot be read, or an option means nothing for a workload.
    """
    specs = [parse(subject) for subject in subjects]
    if workload is not None:
        settings = read(workload)
        return [(spec, settings) for spec in specs]
    read = functools.cache(read)
    axes = [text.partition("=")[0].strip() for text in overrides]
    cases = []
    for spec in specs:
        able = workloads_for(spec)
        meant = [known for known in able if known.knows(scenario, axes)]
        cases += [(spec, read(known.name)) for known in meant or able]
    return cases


def read_target_cases(
    subjects: Sequence[str],
    workload: str | None,
    read: Callable[[str, str], Settings],
    targets: Sequence[str],
    scenario: str | None,
    overrides: Sequence[str],
) -> list[tuple[SubjectSpec, Settings]]:
    """As `read_cases` gives them, each case for every target before the next case."""
    found = [
        read_cases(
            subjects, workload, functools.partial(_swapped, read, target), scenario, overrides
        )
        for target in targets
    ]
    return [case for cases in zip(*found, strict=True) for case in cases]


def _swapped(read: Callable[[str, str], Settings], target: str, name: str) -> Settings:
    return read(name, target)


def read_targets(given: Sequence[str] | None) -> tuple[str, ...]:
    """The targets that were asked for, each once; the usual ones where none was.

    Raises:
        UsageError: there is no such target.
    """
    return find_targets(",".join(given or ())) or default_targets()


def one_target(given: Sequence[str] | None) -> str:
    """The target that was asked for.

    Raises:
        UsageError: there is no such target, or several were given.
    """
    first, *others = read_targets(given)
    if others:
        raise UsageError(f"--target takes one target here, not {first} and {', '.join(others)}")
    return first


def target_of_lock(given: Sequence[str] | None, file: str) -> str:
    """The target that was asked for, else the one that every law of the lockfile is for.

    Raises:
        UsageError: there is no such target, several were given, or the file cannot be read.
    """
    return one_target(given) if given else only_arch(file) or one_target(None)


def shadow_settings(
    scenario: str | None,
    sizes: list[str] | None,
    name: str,
    target: Sequence[str] | None,
    budget: str | None,
    time_limit_s: float,
) -> Settings:
    """The settings of a command that runs no real tensors, for one target.

    Raises:
        UsageError: one of the options cannot be used.
    """
    on = one_target(target)
    return read_settings(
        scenario, sizes or [], name, "shadow", "cpu", on, budget, time_limit_s, None
    )


def spelled(
    subjects: Sequence[str] | None, stubs: Sequence[str] | None = None, package: str | None = None
) -> tuple[str, ...]:
    """The subjects with the options that belong to each; the built-ins where none is named."""
    return tuple(
        with_options(subject, stubs or (), package) for subject in subjects or builtin_names()
    )


def first_workload(workload: str | None, subjects: Sequence[str]) -> str:
    """The workload that was asked for, else the first that the first subject can take.

    Raises:
        UsageError: the subject's spelling cannot be read, or no workload is known for it.
    """
    if workload is not None:
        return workload
    spec = parse(subjects[0])
    if not (known := workloads_for(spec)):
        raise UsageError(f"{spec.text} has code for no workload that is registered here")
    return known[0].name


def read_sizes(overrides: Sequence[str]) -> dict[str, int]:
    """The sizes that ``--set AXIS=VALUE`` gives, each once.

    Raises:
        UsageError: one cannot be read, or an axis is given twice.
    """
    sizes: dict[str, int] = {}
    for text in overrides:
        axis, value = _override(text)
        if axis in sizes:
            msg = f"--set gives {axis} twice, as {sizes[axis]} and {value}: leave one out"
            raise UsageError(msg)
        sizes[axis] = value
    return sizes


def _override(text: str) -> tuple[str, int]:
    axis, equals, value = text.partition("=")
    if not equals or not axis.strip():
        msg = f"--set {text!r} is not AXIS=VALUE; write it like --set num_blocks=512"
        raise UsageError(msg)
    try:
        return axis.strip(), int(value.replace("_", "").replace(",", ""))
    except ValueError:
        msg = f"--set {text!r}: {value!r} is not a whole number; write it like --set num_blocks=512"
        raise UsageError(msg) from None
