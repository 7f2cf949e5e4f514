"""The fixtures of this repository, for all its tests; the plugin comes with the package."""

from __future__ import annotations

import os

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
    "fixtures.oom_device",
    "fixtures.paged_kv_cache",
    "fixtures.remembered_runs",
    "fixtures.scenario",
    "fixtures.subject",
    "fixtures.torchrun",
)
