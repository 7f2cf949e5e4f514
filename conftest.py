"""The fixtures of this repository, for all its tests; the plugin comes with the package."""

from __future__ import annotations

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
