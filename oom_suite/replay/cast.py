"""Who is in a replay: the culprits, who must run out of memory, and the fixes, who must not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from oom_suite.check import KNOWN_BUGS
from oom_suite.records.replay import Role
from oom_suite.subjects.spec import SubjectKind, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oom_suite.subjects.spec import SubjectSpec

CULPRIT = "vllm==0.21.0"
STAND_IN = "full_dequant"
"""Runs for the culprit where the release cannot be had."""
FIXES = ("block_compaction", "token_gather", "streaming", "vllm==0.33.0")
FIRST_GOOD = Version("0.22.0")
"""Source: `oom-suite bisect --bad vllm==0.21.0`; vllm-project/vllm issue 41962."""

Cast = tuple[tuple["SubjectSpec", Role], ...]


def cast(subjects: Sequence[str]) -> Cast:
    """The subjects with their roles, culprits first; the default ones when none is named.

    Raises:
        UsageError: a spelling cannot be read.
    """
    specs = [parse(text) for text in subjects or (CULPRIT, *FIXES)]
    named = [(spec, role_of(spec)) for spec in dict.fromkeys(specs)]
    return tuple(sorted(named, key=lambda one: one[1] is not Role.CULPRIT))


def role_of(spec: SubjectSpec) -> Role:
    """A culprit is what is known for the bug; everything else is held to run."""
    if spec.kind is SubjectKind.VLLM_RELEASE and spec.version is not None:
        is_bad = Version(spec.version) < FIRST_GOOD
    else:
        is_bad = spec.kind is SubjectKind.BUILTIN and spec.text in KNOWN_BUGS
    return Role.CULPRIT if is_bad else Role.FIX
