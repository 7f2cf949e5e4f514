"""What calls at the same sizes leave alive: where, of which line, how much of it of late."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from oom_suite.records.kept import DEVICE, HOST, MAX_CALLS, MIN_CALLS
from oom_suite.tracing.shadow import ShadowLane

HERE = Path(__file__).parent
FIRST, LAST, COPIES = {}, [], []


@pytest.fixture(autouse=True)
def nothing_held():
    """Before and after a test."""
    for held in (FIRST, LAST, COPIES):
        held.clear()
    yield
    for held in (FIRST, LAST, COPIES):
        held.clear()


def repeated(call, num=16):
    """Calls with one input of so many floats."""

    def build(sizes, device):
        x = torch.zeros(num, device=device)
        return lambda: call(x)

    return ShadowLane(HERE).repeat(build, {})


def keeps_once(x):
    FIRST.setdefault("x", x + 1)


def keeps_all(x):
    FIRST.setdefault("x", torch.cat([x, x, x]))
    LAST.append(x + 1)
    COPIES.append((x[:2] + 1).cpu())


def test_what_is_kept_once_settles_after_the_fewest_calls():
    found = repeated(keeps_once)
    assert {DEVICE: (64,) * MIN_CALLS} == {DEVICE: found.live_bytes[DEVICE]}
    assert {} == found.leaks
    (kept,) = found.kept
    assert (DEVICE, "FIRST", 64, 0) == (
        kept.memory,
        kept.holder,
        kept.num_bytes,
        kept.num_recent_bytes,
    )


def test_what_grows_is_called_until_the_last_and_told_the_largest_first():
    """Each memory and line by itself: half of what grows is of the later half of the calls."""
    found = repeated(keeps_all)
    assert MAX_CALLS == found.num_calls
    assert {DEVICE: 64.0, HOST: 8.0} == found.leaks
    assert [
        (DEVICE, "LAST", 64 * MAX_CALLS, 32 * MAX_CALLS),
        (HOST, "COPIES", 8 * MAX_CALLS, 4 * MAX_CALLS),
        (DEVICE, "FIRST", 192, 0),
    ] == [(one.memory, one.holder, one.num_bytes, one.num_recent_bytes) for one in found.kept]
    first = keeps_all.__code__.co_firstlineno
    assert [first + 2, first + 3, first + 1] == [one.frame.line for one in found.kept]
    assert 64 * MAX_CALLS + 8 * MAX_CALLS + 192 == found.num_outliving_bytes


def test_what_only_the_call_s_own_inputs_hold_does_not_outlive_it():
    def build(sizes, device):
        x, seen = torch.zeros(16, device=device), []

        def call():
            if not seen:
                seen.append(x + 1)

        return call

    found = ShadowLane(HERE).repeat(build, {})
    assert (64, 0) == (found.live_bytes[DEVICE][-1], found.num_outliving_bytes)


def test_nothing_is_kept_where_nothing_is_left():
    found = repeated(lambda x: x + 1)
    assert ((), 0, MIN_CALLS) == (found.kept, found.num_outliving_bytes, found.num_calls)


def test_a_first_call_that_fails_is_an_error_and_a_later_one_is_made_with_new_inputs():
    """A builder's graph, say, is good for one backward pass."""
    with pytest.raises(ZeroDivisionError):
        repeated(lambda x: 1 // 0)

    def build(sizes, device):
        made = [torch.zeros(16, device=device)]
        return lambda: LAST.append(made.pop() + 1)

    found = ShadowLane(HERE).repeat(build, {})
    assert MAX_CALLS == found.num_calls
    assert 64 * MAX_CALLS == found.live_bytes[DEVICE][-1]
