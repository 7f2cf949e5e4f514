"""The units of a scan: every workload that subjects have code for, at its scenarios."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from oom_suite.doors import workload as find_workload
from oom_suite.errors import UsageError
from oom_suite.records.scan import Unit
from oom_suite.subjects import every_workload_for, family_of, parse
from oom_suite.targets.target import target as find_target
from oom_suite.targets.target import targets as find_targets
from oom_suite.targets.versions import checkout, code_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from oom_suite.records import Workload

_SUITE = Path(__file__).parents[3]
_FIRST = {"cuda": "cuda:sm_90", "rocm": "rocm:gfx942", "cpu": "cpu"}
"""What code that is made for one kind of device is scanned for, where nobody names one of it."""


def units_of(
    subjects: Sequence[str], targets: Sequence[str], workloads: Sequence[str] = ()
) -> tuple[Unit, ...]:
    """Every unit of these subjects, each once, subject by subject.

    Args:
        subjects: their spellings.
        targets: the devices that laws are for. Code that is made for another kind of device than
            all of them is scanned for a device of its own kind.
        workloads: names of those that are wanted; empty for all that a subject can take.

    Raises:
        UsageError: a spelling or a name is unknown, or a subject has code for none of these.
    """
    wanted = tuple(find_workload(name) for name in workloads)
    found: dict[Unit, None] = {}
    for subject in subjects:
        spec = parse(subject)
        able = every_workload_for(spec)
        chosen = [known for known in able if not wanted or known in wanted]
        if not chosen:
            names = ", ".join(known.name for known in able) or "no workload"
            asked = ", ".join(workloads)
            raise UsageError(
                f"{spec.text} has code for {names}" + (f", not for {asked}" * bool(asked))
            )
        for known in chosen:
            found |= dict.fromkeys(_units(spec.text, known, targets))
    return tuple(found)


def _units(subject: str, workload: Workload, targets: Sequence[str]) -> Iterator[Unit]:
    for scenario in workload.scanned or (workload.scenario(None).name,):
        for name in _fitting(workload, targets):
            yield Unit(subject, workload.name, scenario, name)


def _fitting(workload: Workload, targets: Sequence[str]) -> tuple[str, ...]:
    """The targets of the kind that the workload's code is made for."""
    kind = workload.made_for
    fitting = tuple(
        name for name in targets if not kind or find_target(name).backend in (kind, "generic")
    )
    return fitting or find_targets(_FIRST[kind])


def own_code(subjects: Iterable[str]) -> dict[str, str]:
    """What tells one state of the code from another, of all that may have several.

    Releases, and what the suite brings along, have one for each version. Where nothing tells, as
    outside of a repository, it is empty.

    Args:
        subjects: their spellings.
    """
    suite = checkout()
    found = {"oom_suite": code_state(_SUITE)} if suite["dirty"] else {}
    for spec in map(parse, subjects):
        if spec.version is None and spec.name is None:
            place = Path(spec.path or ".").expanduser()
            found[spec.text] = code_state(place if place.is_dir() else place.parent)
    return found


def releases_between(since: str, subject: str) -> tuple[str, ...]:
    """Both releases and every one between them that the index has, oldest first.

    Args:
        since: the earlier release, such as ``vllm==0.21.0``.
        subject: the later one.

    Raises:
        UsageError: one is no release, they are of two packages, or the later is not later.
        FetchError: the list of releases cannot be had.
    """
    first, last = versions_of(since, subject)
    family = family_of(parse(subject))
    between = [version for version in family.releases() if first < version < last]
    return (since, *(family.release(version) for version in between), subject)


def versions_of(since: str, subject: str) -> tuple[Version, Version]:
    """The versions of two releases of one package.

    Raises:
        UsageError: one is no release, they are of two packages, or the later is not later.
    """
    specs = (parse(since), parse(subject))
    for spec, option in zip(specs, ("--since ", ""), strict=True):
        if spec.version is None:
            msg = f"{option}{spec.text} is no release: with --since give two, as vllm==VERSION"
            raise UsageError(msg)
    if specs[0].family != specs[1].family:
        msg = f"--since {since} and {subject} are releases of two packages: give two of one"
        raise UsageError(msg)
    first, last = (Version(str(spec.version)) for spec in specs)
    if first >= last:
        msg = f"--since {since} is no earlier release than {subject}: exchange them"
        raise UsageError(msg)
    return first, last
