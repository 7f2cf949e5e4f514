"""The evidence files, and what the tests of them share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oom_suite.subjects import obtain, parse

ROOT = Path(__file__).parents[2]
EVIDENCE = ROOT / "docs" / "evidence"


def read(name):
    """What a file in docs/evidence holds."""
    return json.loads((EVIDENCE / f"{name}.json").read_text("utf-8"))


def each(names):
    """The names as parameters; releases need the registry."""
    registry = pytest.mark.oom_registry
    return [pytest.param(name, marks=registry if "==" in name else ()) for name in names]


def source(subject):
    """A release's unpacked sources; None for what is here."""
    return obtain(parse(subject))
