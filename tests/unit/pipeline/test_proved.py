"""What a proof does to a result that exact runs have given."""

from __future__ import annotations

import pytest

from oom_suite.laws.branches import Branch
from oom_suite.laws.closed_form import closed_form
from oom_suite.laws.proof import CLOSED_FORM, Proof
from oom_suite.pipeline.proved import with_lanes
from oom_suite.records import (
    Allocation,
    Event,
    Polynomial,
    Result,
    Trace,
    Verdict,
)
from oom_suite.records.symbolic import Hints, SymbolicAllocation, SymbolicTrace

EVERY = [{"tokens": tokens} for tokens in range(1, 41)]


def proof():
    """Eight bytes a token."""
    request = SymbolicAllocation(Polynomial.of({("tokens",): 8}), "op", ())
    trace = SymbolicTrace(Hints({"tokens": 5}), {}, (request,), (("alloc", 0),))
    law, regimes = closed_form(trace)
    return Proof(law, regimes, CLOSED_FORM, main=Branch(law, regimes, trace))


def exact(wrong=0):
    """Runs that follow it, with one byte more at so many tokens."""

    def run(sizes):
        num_bytes = 8 * sizes["tokens"] + (sizes["tokens"] == wrong)
        request = Allocation(num_bytes, "op", ())
        return Trace("shadow", sizes, (request,), (Event("alloc", 0),))

    return run


@pytest.mark.parametrize("wrong", [1, 13, 40])
def test_a_proof_is_held_against_every_run_that_was_made(wrong):
    """One byte at the last of forty takes the green away."""
    green = Result("code", "w", "shadow", "s", EVERY[0], Verdict.PASS, "kept")
    assert green == with_lanes(green, proof(), exact(), EVERY)
    result = with_lanes(green, proof(), exact(wrong), EVERY)
    said, counted = 8 * wrong, 8 * wrong + 1
    assert Verdict.INCONCLUSIVE is result.verdict
    expected = f"tokens={wrong}: prove says {said:,} bytes, shadow {counted:,}"
    assert expected in result.reason
