"""Subjects: the code under test, built in or from elsewhere, each found by its family."""

from __future__ import annotations

import re
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from oom_suite import doors
from oom_suite.errors import OomSuiteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from oom_suite.records import SubjectSpec, Workload
    from oom_suite.subjects.family import LoadedSubject, OnBytes, SubjectFamily

__all__ = [
    "builtin_names",
    "family_of",
    "load",
    "obtain",
    "parse",
    "source_folders",
    "spellings",
    "with_options",
    "workloads_for",
]


_OPTION = re.compile(r"\s+--(stub|package)(?:\s+|=)([\w.-]+)\s*$")


def with_options(text: str, stubs: Sequence[str] = (), package: str | None = None) -> str:
    """The spelling with options behind it, as `parse` reads them.

    Args:
        text: the spelling.
        stubs: packages to replace by stubs, from ``--stub``.
        package: the package that a fork is laid out as, from ``--package``.
    """
    words = [text, *(f"--stub {stub}" for stub in stubs)]
    return " ".join(words + ([f"--package {package}"] if package else []))


def parse(text: str) -> SubjectSpec:
    """The subject that a spelling such as ``vllm==0.21.0`` or ``decode.py:run`` names.

    Options may follow it: ``decode.py:run --stub flashinfer`` and ``vllm@. --package vllm_fork``.
    Only the spelling is judged: whether the file or release exists is found when it is loaded.

    Raises:
        UsageError: no family understands it, or it does not take these options.
    """
    spelling, stubs, packages = text.strip(), list[str](), list[str]()
    while match := _OPTION.search(spelling):
        (stubs if match[1] == "stub" else packages).insert(0, match[2])
        spelling = spelling[: match.start()].rstrip()
    for known in doors.families().values():
        spec = known.parse(spelling)
        if spec is None:
            continue
        if stubs and not known.takes_stubs:
            msg = f"--stub {stubs[0]} means nothing for {spelling}: it is for files and packages"
            raise UsageError(msg)
        if packages and (spec.version or len(packages) > 1 or not known.takes_package):
            msg = f"--package {packages[0]} means nothing for {spelling}: it names the one package "
            raise UsageError(msg + "that a tree is laid out as, vllm@PATH")
        package = packages[0] if packages else None
        written = with_options(spelling, stubs, package)
        return replace(spec, text=written, stubs=tuple(stubs), package=package)
    raise _unreadable(spelling)


def family_of(spec: SubjectSpec) -> SubjectFamily:
    """The family that understood the spelling.

    Raises:
        UsageError: it is not registered in this process.
    """
    known = doors.families()
    if spec.family not in known:
        raise UsageError(f"{spec.text}: no family {spec.family!r} of subjects is registered here")
    return known[spec.family]


def obtain(spec: SubjectSpec, on_bytes: OnBytes | None = None) -> Path | None:
    """Where the subject's source is, fetched when it was not here; None if nothing is needed.

    Raises:
        FetchError: it cannot be had.
    """
    return family_of(spec).obtain(spec, on_bytes)


def load(
    spec: SubjectSpec, workload: Workload, *, root: Path | None = None, arch: str = "generic"
) -> LoadedSubject:
    """The subject's code for the workload.

    Args:
        spec: from `parse`.
        workload: what it is to be called for.
        root: where `obtain` has put its source; obtained here where it is None.
        arch: the GPU that code sees: ``"generic"``, ``"gfx942"``, ``"gfx950"``.

    Raises:
        NotApplicableError: it has no code for that workload.
        SubjectError: it cannot be found, loaded or called as the workload calls it.
        UsageError: an unknown architecture.
    """
    known = family_of(spec)
    return known.load(spec, workload, root=root or known.obtain(spec), arch=arch)


def workloads_for(spec: SubjectSpec) -> tuple[Workload, ...]:
    """The registered workloads that the subject can take, as far as that is known unloaded."""
    return family_of(spec).workloads(spec, doors.workloads().values())


def source_folders(text: str) -> tuple[Path, ...]:
    """The folders that the source paths of a subject's result may be relative to."""
    spec = parse(text)
    try:
        return family_of(spec).source_folders(spec)
    except OomSuiteError:  # the tree is gone since it was judged
        return ()


def builtin_names() -> tuple[str, ...]:
    """The subjects that workloads bring along, each once; those for when none is named."""
    every = (item for w in doors.workloads().values() for item in w.builtins.items())
    return tuple(dict.fromkeys(name for name, one in every if one.by_default))


def spellings() -> tuple[str, ...]:
    """Every way to write a subject, for messages and help."""
    return tuple(written for known in doors.families().values() for written in known.spellings)


def _unreadable(text: str) -> UsageError:
    words = [word for known in doors.families().values() for word in known.words]
    near = get_close_matches(text, words, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return UsageError(f"unknown subject {text!r}: write one of {', '.join(spellings())}{hint}")
