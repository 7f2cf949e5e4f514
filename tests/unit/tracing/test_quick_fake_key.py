"""What a quick fake mode remembers of one call is given for no other that torch tells apart."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from fake_calls import BOOL, F32, F64, I32, I64, Call, Fake, answer, aten, pairs
from hypothesis import HealthCheck, given, settings

from oom_suite.tracing import quick_fake
from oom_suite.tracing.fake_mode import LaneFakeMode
from oom_suite.tracing.quick_fake import QuickFakeMode


def told(first, second):
    """What a quick mode says of a call after another one, after itself, and in a new session."""
    quick_fake._known.clear()
    mode = QuickFakeMode()
    answer(mode, first)
    return [answer(mode, second), answer(mode, second), answer(QuickFakeMode(), second)]


def right(call):
    """What torch says of it, without a memory."""
    return answer(LaneFakeMode(), call)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    """Nothing is remembered for other tests, and torch logs no line for each call it refuses."""
    monkeypatch.setattr(logging.getLogger("torch._subclasses.fake_tensor"), "disabled", True)
    yield
    quick_fake._known.clear()


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(pairs())
def test_any_call_after_any_other_is_answered_as_torch_would(pair):
    """Sizes, strides, offsets, dtypes, devices, bytes of storage, whose storage, and errors."""
    first, second = pair
    assert [right(second)] * 3 == told(first, second)


WHOLE = Call(aten.mul.Scalar, (Fake(dtype=I64), 1))
HALF = Call(aten.mul.Scalar, (Fake(dtype=I64), 1.0))
ROWS = Call(aten.select.int, (Fake(), 0, 1))
BUCKETS = Call(aten.bucketize.Tensor, (Fake(), Fake((3,))), {"right": True})
WINDOW = Call(aten.as_strided.default, (Fake(num_stored=24), [24], [1]))

PAIRS = {
    ("_Call", "func"): (WHOLE, replace(WHOLE, op=aten.div.Scalar)),
    ("_Call", "default_dtype"): (HALF, replace(HALF, default_dtype=F64)),
    ("_Call", "is_inference"): (ROWS, replace(ROWS, around="inference_mode")),
    ("_Call", "operands"): (ROWS, replace(ROWS, args=(Fake((3, 2)), 1, 1))),
    ("_Tensor", "size"): (WHOLE, replace(WHOLE, args=(Fake((1, 3), dtype=I64), 1))),
    ("_Tensor", "stride"): (ROWS, replace(ROWS, args=(Fake(stride=(1, 2)), 0, 1))),
    ("_Tensor", "offset"): (ROWS, replace(ROWS, args=(Fake(offset=4), 0, 1))),
    ("_Tensor", "storage_bytes"): (WINDOW, replace(WINDOW, args=(Fake(num_stored=6), [24], [1]))),
    ("_Tensor", "dtype"): (WHOLE, replace(WHOLE, args=(Fake(dtype=F64), 1))),
    ("_Tensor", "device"): (WHOLE, replace(WHOLE, args=(Fake(dtype=I64, device="shadow"), 1))),
    ("_Tensor", "is_inference"): (
        replace(ROWS, args=(Fake(of_inference=True), 0, 1), around="inference_mode"),
        replace(ROWS, around="inference_mode"),
    ),
    ("_Scalar", "kind"): (WHOLE, HALF),
    ("_Scalar", "value"): (ROWS, replace(ROWS, args=(Fake(), 0, 0))),
    ("_Sequence", "length"): (
        Call(aten.as_strided.default, (Fake(), [2], [1], 1)),
        Call(aten.as_strided.default, (Fake(), [2], [1, 1])),
    ),
    ("_Keyword", "name"): (BUCKETS, replace(BUCKETS, kwargs={"out_int32": True})),
}
"""For each part of a call's key, two calls that differ in it and in nothing else."""

PARTS = [
    (kind, part)
    for kind in ("_Call", "_Tensor", "_Scalar", "_Sequence", "_Keyword")
    for part in getattr(quick_fake, kind)._fields
]
each_part = pytest.mark.parametrize(("kind", "part"), PARTS, ids=[".".join(one) for one in PARTS])


def without(monkeypatch, kind, part):
    """Let a part of the key be the same for all calls."""
    whole = getattr(quick_fake, kind)
    monkeypatch.setattr(quick_fake, kind, lambda *values: whole(*values)._replace(**{part: None}))


@each_part
def test_two_calls_that_differ_in_one_part_are_two(kind, part):
    first, second = PAIRS[kind, part]
    assert [[right(second)] * 3, [right(first)] * 3] == [told(first, second), told(second, first)]


@each_part
def test_a_key_without_that_part_gives_a_wrong_answer(kind, part, monkeypatch):
    """What the first call gave is given for the second, and torch says otherwise of it."""
    first, second = PAIRS[kind, part]
    expected = right(second)
    without(monkeypatch, kind, part)
    assert expected != told(first, second)[0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(1, 1.0, id="int-float"),
        pytest.param(1, True, id="int-bool"),
        pytest.param(1, 1 + 0j, id="int-complex"),
        pytest.param(True, 1.0, id="bool-float"),
        pytest.param(0, 0.0, id="zero-float"),
        pytest.param(0.0, False, id="zero-bool"),
    ],
)
@pytest.mark.parametrize("dtype", [BOOL, I32, F32], ids=str)
def test_equal_numbers_of_other_types_are_other_calls(first, second, dtype):
    """``x * 1.0`` after ``x * 1`` is of a floating type, and so on, in both orders."""
    one, other = (Call(aten.mul.Scalar, (Fake(dtype=dtype), number)) for number in (first, second))
    assert [[right(other)] * 3, [right(one)] * 3] == [told(one, other), told(other, one)]


@pytest.mark.parametrize(
    ("changed", "is_known"),
    [
        pytest.param({"num_stored": 30}, False, id="larger-storage"),
        pytest.param({"needs_grad": True}, True, id="gradients"),
    ],
)
def test_what_is_asked_of_torch_again(changed, is_known, monkeypatch):
    """Another storage is another call; whether gradients are wanted is no matter of sizes."""
    asked = []
    before = LaneFakeMode.__torch_dispatch__

    def noting(self, func, types, args=(), kwargs=None):
        asked.append(func)
        return before(self, func, types, args, kwargs or {})

    quick_fake._known.clear()
    mode = QuickFakeMode()
    answer(mode, ROWS)
    monkeypatch.setattr(LaneFakeMode, "__torch_dispatch__", noting)
    answer(mode, replace(ROWS, args=(replace(Fake(), **changed), 0, 1)))
    assert is_known == (aten.select.int not in asked)
