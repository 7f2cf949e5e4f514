"""Sizes as symbols: what the builder took for granted is asked again in the call."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from oom_suite.records.symbolic import Hints
from oom_suite.tracing.prove import ProveLane

HERE = Path(__file__).parent
HINTS = {"num_blocks": 192, "num_tokens": 7, "topk": 80}

CONDITIONS = {
    "a bound": lambda s: s["topk"] > 4,
    "an upper bound": lambda s: s["topk"] < 400,
    "a bound of a product": lambda s: s["topk"] * s["num_tokens"] > 100,
    "an order of two": lambda s: s["topk"] > s["num_tokens"],
    "a remainder": lambda s: s["topk"] % 8 == 0,
    "a difference": lambda s: s["topk"] != s["num_tokens"],
}


def proved(in_builder, in_call, hints=HINTS):
    """The trace of code that asks one thing in its builder and another in its call."""

    def build(sizes, device):
        x = torch.zeros(sizes["topk"] if in_builder(sizes) else 1, device=device)
        return lambda: x.add(1) if in_call(sizes) else None

    return ProveLane(HERE).run(build, Hints(hints))


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
def test_what_the_builder_asked_is_asked_again_by_the_call(condition):
    """The law rests on it there: it is a guard with the call's own line."""
    trace = proved(condition, condition)
    (required,) = trace.requires
    (guard,) = (one for one in trace.guards if one.formula == required.formula)
    assert "test_symbols.py" == guard.frame.file


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
def test_what_only_the_builder_asked_is_no_guard(condition):
    """The healthy twin: a call that asks nothing takes nothing for granted."""
    trace = proved(condition, lambda s: True)
    assert 1 == len(trace.requires)
    assert trace.requires[0].formula not in [guard.formula for guard in trace.guards]


def test_an_axis_that_the_builder_made_a_number_stays_one():
    trace = proved(lambda s: s["num_tokens"] == 7, lambda s: s["num_tokens"] == 7)
    assert {"num_tokens": 7} == {axis: size for axis, (size, _) in trace.specialised.items()}
    assert [] == [guard for guard in trace.guards if "num_tokens" in str(guard.formula)]


def test_a_long_run_is_asked_again_after_fifty_operators_whether_an_axis_is_a_number():
    """It ends where one has become one since; until then it goes on."""
    turns = []

    def build(sizes, device):
        x = torch.zeros(sizes["topk"], device=device)

        def call():
            for turn in range(1, 201):
                turns.append(turn)
                if turn == 12:
                    assert sizes["num_tokens"] == 7
                x + 1

        return call

    ProveLane(HERE).run(build, Hints(HINTS, longest=10))
    assert 61 == turns[-1]
