"""Subjects: the code under test, built in or from elsewhere, each found by its family."""

from __future__ import annotations

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
    "workloads_for",
]


def parse(text: str, stubs: Sequence[str] = (), package: str | None = None) -> SubjectSpec:
    """The subject that a spelling such as ``vllm==0.21.0`` or ``decode.py:run`` names.

    Only the spelling is judged: whether the file or release exists is found when it is loaded.

    Args:
        text: the spelling.
        stubs: packages to replace by stubs, from ``--stub``.
        package: the package that a fork is laid out as, from ``--package``.

    Raises:
        UsageError: no family understands it, or it does not take these options.
    """
    text = text.strip()
    for known in doors.families().values():
        spec = known.parse(text)
        if spec is None:
            continue
        if stubs and not known.takes_stubs:
            msg = f"--stub {stubs[0]} means nothing for {text}: its packages are not replaced"
            raise UsageError(msg)
        if package and (spec.version or not known.takes_package):
            msg = f"--package {package} means nothing for {text}: it is for a fork, as vllm@PATH"
            raise UsageError(msg)
        return replace(spec, stubs=tuple(stubs), package=package)
    raise _unreadable(text)


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
        arch: the GPU that code is told it runs on: ``"generic"``, ``"gfx942"``, ``"gfx950"``.

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
    """The subjects that workloads bring along, each once."""
    return tuple(dict.fromkeys(n for w in doors.workloads().values() for n in w.builtins))


def spellings() -> tuple[str, ...]:
    """Every way to write a subject, for messages and help."""
    return tuple(written for known in doors.families().values() for written in known.spellings)


def _unreadable(text: str) -> UsageError:
    words = [word for known in doors.families().values() for word in known.words]
    near = get_close_matches(text, words, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return UsageError(f"unknown subject {text!r}: write one of {', '.join(spellings())}{hint}")
