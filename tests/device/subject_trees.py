"""The trees of releases that are on this machine already; a device often has no network."""

from __future__ import annotations

import pytest
from packaging.version import Version

from oom_suite.subjects import parse
from oom_suite.subjects.families.cache import cache_folder, entry, is_whole
from oom_suite.subjects.families.vllm import VLLM


def is_here(subject):
    """Whether the subject needs no tree, or has it."""
    return not parse(subject).version or root_of(subject) is not None


def root_of(subject):
    """The tree of a release; None for what has none here."""
    version = parse(subject).version
    if version is None:
        return None
    tree = entry(cache_folder(VLLM.project), Version(version))
    return str(tree) if is_whole(tree, VLLM.needed_files()) else None


def skip_unless_here(subject):
    """Skip the test, with how to get the tree."""
    if not is_here(subject):
        folder = cache_folder(VLLM.project)
        pytest.skip(f"{subject} is not in {folder}; `oom-suite check {subject}` puts it there")
