"""Entries of a small workload, made from formulas."""

from __future__ import annotations

import pytest

from oom_suite.laws.contracts import parse_polynomial
from oom_suite.records import Axis, Contract, Law, Workload
from oom_suite.records.lock import Entry

SIZES = {"pool": 1000, "t": 4, "k": 8, "block_size": 64}
AXES = (*SIZES, "found")
"""The axes, and a quantity that data decides."""


@pytest.fixture
def workload():
    """`pool`, `t` and `k`, at most 2**20 of the pool."""
    return Workload(
        name="decode",
        axes=(Axis("pool", 64, (64, 4096)), Axis("t", 1, (1, 128)), Axis("k", 8, (8, 512))),
        builder="none:at_all",
        contract=Contract(),
        settle=lambda sizes: dict(sizes) if sizes["pool"] <= 2**20 else None,
    )


def make_law(*texts, held=("block_size",), notes=(), **moved):
    sizes = {**SIZES, **moved}
    regimes = tuple(parse_polynomial(text, AXES) for text in texts)
    return Law(regimes, sizes, held={a: sizes[a] for a in held}, notes=tuple(notes))


@pytest.fixture
def law():
    """`law(*texts, held=..., notes=..., **moved)`: a law with these formulas."""
    return make_law


@pytest.fixture
def entry():
    """`entry(*texts, subject="s", elsewhere=(), scenario_bytes=None, **law)`: an entry."""

    def make(*texts, subject="s", elsewhere=(), scenario_bytes=None, **rest):
        return Entry(
            subject=subject,
            workload="decode",
            arch="generic",
            scenario="issue-41962",
            law=make_law(*texts, **rest),
            elsewhere=tuple(elsewhere),
            scenario_bytes=scenario_bytes or {"small": 100},
            versions={"oom_suite": "0.1.0", "torch": "2.13.0"},
        )

    return make
