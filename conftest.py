"""The fixtures of this repository, for all its tests; the plugin comes with the package."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# The suite's own figures are those of one target, wherever it is tested; tests of the default
# itself take this away.
os.environ["OOM_SUITE_TARGET"] = "generic"
# Tables are as wide as a test says, not as whoever runs the tests (or pytest-xdist) has it.
os.environ.pop("COLUMNS", None)

pytest_plugins = (
    "pytester",
    "fixtures.browser",
    "fixtures.command",
    "fixtures.commits",
    "fixtures.decode_call",
    "fixtures.fleet",
    "fixtures.oom_device",
    "fixtures.paged_kv_cache",
    "fixtures.postgresql",
    "fixtures.remembered_runs",
    "fixtures.scenario",
    "fixtures.subject",
    "fixtures.torchrun",
)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Ten thousand tests are no garbage while they are being collected."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return (yield)
    finally:
        # Also where nothing is collected, as in the process that has workers collect.
        if was_enabled:
            gc.enable()


def pytest_collection_finish() -> None:
    """Keep the collector from walking, with each test, the thousands that are there.

    As in the children that run code under test: what is there before the code is no garbage.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _garbage_is_collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test that leaves the collector off would change what later tests of its worker see.

    One that gives the collector all that was there before is slow itself; those after it are not.
    """
    given: list[bool] = []
    unfreeze = gc.unfreeze
    monkeypatch.setattr(gc, "unfreeze", lambda: (given.append(True), unfreeze()))
    yield
    if given:
        gc.freeze()
    was_enabled = gc.isenabled()
    gc.enable()
    assert was_enabled, "this test left the garbage collector off"
