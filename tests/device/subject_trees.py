"""The trees of releases that are on this machine already; a device often has no network."""

from __future__ import annotations

import pytest
from packaging.version import Version

from oom_suite.subjects.families.vllm.cache import cache_folder, entry, is_whole
from oom_suite.subjects.spec import SubjectKind, parse


def is_here(subject):
    """Whether the subject needs no tree, or has it."""
    tree = _tree(subject)
    return tree is None or is_whole(tree)


def root_of(subject):
    """The tree of a release; None for what has none."""
    tree = _tree(subject)
    return None if tree is None else str(tree)


def skip_unless_here(subject):
    """Skip the test, with how to get the tree."""
    if not is_here(subject):
        folder = cache_folder()
        pytest.skip(f"{subject} is not in {folder}; `oom-suite check {subject}` puts it there")


def _tree(subject):
    spec = parse(subject)
    if spec.kind is not SubjectKind.VLLM_RELEASE:
        return None
    return entry(cache_folder(), Version(spec.version))
