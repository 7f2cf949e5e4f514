"""The recorded histories, and an allocator whose steps are written down."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path

import pytest

from oom_suite.allocator import CachingAllocator, Recording, Step, parse_settings

HISTORIES = Path(__file__).with_name("histories")


@cache
def _read(name):
    body = json.loads(gzip.decompress((HISTORIES / f"{name}.json.gz").read_bytes()))
    return Recording.from_json(body), tuple(Step(*step) for step in body["history"]), body


@pytest.fixture(scope="session")
def recorded():
    """`recorded(name)`: the recording, the allocator's own steps, and where it comes from."""
    return _read


@pytest.fixture
def allocator():
    """`allocator(settings text, **limits)`: an empty model; its `steps` are what it did."""

    def make(text="", **limits):
        steps = []
        model = CachingAllocator(parse_settings(text), log=steps.append, **limits)
        model.steps = steps
        return model

    return make
