"""Leaves out what no option asks for."""

from __future__ import annotations

import pytest

from oom_suite.pytest_plugin import OPTIONS


@pytest.fixture(autouse=True)
def _once(remembered_runs):
    """Whoever judges the same subjects in this session need not run them again."""


def pytest_ignore_collect(collection_path, config):
    """The lockfile's tests are there when a lockfile is named."""
    if collection_path.name == "test_locked.py" and config.stash[OPTIONS].locked is None:
        return True
    return None
