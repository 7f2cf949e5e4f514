"""What sizes are while code runs on symbols, powers of two, errors, and what is noted beside."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from fixtures.torch_versions import since_2_13
from oom_suite.errors import LaneError
from oom_suite.records.symbolic import Hints
from oom_suite.tracing.prove import ProveLane
from oom_suite.tracing.prove import expressions as module
from oom_suite.tracing.prove.expressions import AgainError, symbolic_powers

HERE = Path(__file__).parent
HINTS = {"num_blocks": 192, "num_tokens": 7, "topk": 80}


def proved(body, lane=None, hints=HINTS):
    lane = lane or ProveLane(HERE)
    return lane.run(lambda sizes, device: lambda: body(sizes, device), Hints(hints))


def test_int_is_still_a_type_where_it_leaves_sizes_as_they_are():
    """In the module that asked for one; everything else that ``int`` can do it does."""
    seen = []

    def body(s, device):
        seen[:] = [
            type(int(s["topk"])) is torch.SymInt,
            isinstance(s["topk"], int),
            isinstance(True, int),
            isinstance(1.0, int),
            issubclass(bool, int),
            issubclass(torch.SymInt, int),
            issubclass(float, int),
            int("7"),
            int("ff", 16),
            int(7.9),
            int("11", base=2),
            int.from_bytes(b"\x01\x00", "big"),
        ]

    trace = proved(body)
    assert [True, True, True, False, True, True, False, 7, 255, 7, 3, 256] == seen
    assert {} == trace.specialised
    assert "int" not in globals()


OWNERS = {
    "triton": lambda made: made["triton"],
    "triton.runtime": lambda made: made["triton.runtime"],
    "vllm.triton_utils": lambda made: made["vllm.triton_utils"],
    "vllm.triton_utils's triton": lambda made: made["vllm.triton_utils"].triton,
}


def original(number):
    return f"next after {number}"


@pytest.fixture
def owners(monkeypatch):
    """Modules named as those that have ``next_power_of_2``, each with its own."""
    made = {}
    for name in ("triton", "triton.runtime", "vllm.triton_utils"):
        made[name] = ModuleType(name)
        made[name].next_power_of_2 = original
        monkeypatch.setitem(sys.modules, name, made[name])
    made["vllm.triton_utils"].triton = SimpleNamespace(next_power_of_2=original)
    return made


@pytest.mark.parametrize("owner", OWNERS)
def test_the_next_power_of_two_of_a_size_is_a_size_whoever_is_asked(owners, owner, monkeypatch):
    """Numbers, and sizes without a hint, are what they were; afterwards all is as it was."""
    asked = []
    symbols = SimpleNamespace(function_of=lambda *given: asked.append(given) or "a size")
    size = torch.SymInt.__new__(torch.SymInt)
    there = OWNERS[owner](owners)
    hints = iter([80, None])
    monkeypatch.setattr(module, "hint_of", lambda number: next(hints))
    with symbolic_powers(symbols):
        assert "next after 5" == there.next_power_of_2(5)
        assert "a size" == there.next_power_of_2(size)
        with contextlib.suppress(Exception):
            there.next_power_of_2(size)
    assert [("next_power_of_2", size, "next after 80")] == [
        (name, one, value) for name, one, value in asked if one is size
    ]
    assert there.next_power_of_2 is original


def test_a_module_without_one_is_left_alone(monkeypatch):
    bare = ModuleType("triton")
    bare.next_power_of_2 = 7
    monkeypatch.setitem(sys.modules, "triton", bare)
    monkeypatch.setitem(sys.modules, "triton.runtime", ModuleType("triton.runtime"))
    with symbolic_powers(SimpleNamespace()):
        assert 7 == bare.next_power_of_2
        assert not hasattr(sys.modules["triton.runtime"], "next_power_of_2")


def test_a_power_of_two_is_one_name_is_at_least_1_and_may_be_1(owners):
    """The same of one size is one quantity; that it is more than 1 is a guard."""
    power = owners["triton"]
    power.next_power_of_2 = lambda number: 1 << (number - 1).bit_length()

    def body(s, device):
        first, second = (power.next_power_of_2(s["topk"]) for _ in range(2))
        if first >= 1 and second > 0:
            torch.empty(first, dtype=torch.uint8, device=device)
        if first > 1:
            torch.empty(power.next_power_of_2(s["num_tokens"]), dtype=torch.uint8, device=device)

    trace = proved(body)
    names = ["next_power_of_2(topk)", "next_power_of_2(num_tokens)"]
    assert names == [str(one.requested) for one in trace.allocations]
    assert names == [one.name for one in trace.quantities]
    assert ["a function of the sizes"] * 2 == [one.what for one in trace.quantities]
    assert ["next_power_of_2(topk) > 1"] == [str(guard.formula) for guard in trace.guards]


def test_code_that_asks_for_numbers_again_and_again_is_given_up_after_twenty_times(monkeypatch):
    calls = []

    def again(self, build, hints):
        calls.append(1)
        raise AgainError

    monkeypatch.setattr(ProveLane, "_run", again)
    with pytest.raises(LaneError, match="keeps asking for numbers: prove cannot run it"):
        proved(lambda s, device: None)
    assert 20 == len(calls)


def test_a_value_that_data_decides_is_named_with_the_innermost_line_and_why():
    """In words that end before torch's own list of its symbols."""

    def inner(x):
        return x if x.sum().item() > 0 else None

    def body(s, device):
        return inner(torch.zeros(s["topk"], device=device))

    with pytest.raises(LaneError) as error:
        proved(body)
    line = inner.__code__.co_firstlineno + 1
    start = f"the code needs a number that data decides at test_prove_in_detail.py:{line} (inner): "
    text = str(error.value)
    assert text.startswith(start)
    assert text.removeprefix(start)
    assert "(unhinted" not in text
    assert "\n" not in text


def test_a_custom_operator_whose_size_data_decides_is_named_with_its_line():
    """Torch has no symbol for it, and says so in an error of its own."""
    library = torch.library.Library("oom_suite_sized", "DEF")
    library.define("chosen(Tensor x) -> Tensor", tags=(torch.Tag.dynamic_output_shape,))

    def body(s, device):
        return torch.ops.oom_suite_sized.chosen(torch.zeros(s["topk"], device=device))

    with pytest.raises(LaneError, match=r"data decides at test_prove_in_detail\.py:\d+ .*chosen"):
        proved(body)
    library._destroy()


def test_a_launch_is_noted_and_what_it_may_have_written_is_no_longer_known():
    """Slots of blocks keep their range where another tensor is given to the kernel."""

    def named(written):
        lane = ProveLane(HERE)

        def body(s, device):
            blocks = torch.arange(s["num_tokens"], device=device) % s["num_blocks"]
            other = torch.arange(s["num_tokens"], device=device)
            lane.launched("scale", [blocks if written else other, 4])
            return torch.unique(blocks)

        trace = proved(body, lane)
        (launch,) = trace.launches
        assert ("scale", "body") == (launch.kernel, launch.stack[0].function)
        lane.launched("after the run", [])
        assert 1 == len(trace.launches)
        return trace.quantities[0].name

    assert ("distinct_values", "distinct_blocks") == (named(True), named(False))


@since_2_13
def test_unseen_scratch_of_what_is_taken_apart_counts_what_it_was_given():
    """Attention's scores in full; a line that runs twice counts once."""

    def body(s, device):
        x = torch.zeros(1, 2, s["topk"], 16, device=device)
        for _ in range(2):
            F.scaled_dot_product_attention(x, x, x)

    (unseen,) = [one for one in proved(body).unseen if "softmax" in one.op]
    assert "aten::_safe_softmax" == unseen.op
    assert "8*topk**2" == str(unseen.given)
    assert "the scores in full" in unseen.reason
    assert "body" == unseen.stack[0].function


def test_unseen_scratch_counts_every_tensor_given_by_position_or_by_name():
    def body(s, device):
        x = torch.zeros(s["topk"], device=device)
        torch.sort(x)
        torch.ops.aten.bincount.default(
            torch.zeros(s["topk"], dtype=torch.int64, device=device), weights=x
        )

    given = {one.op: str(one.given) for one in proved(body).unseen}
    assert {"aten::sort": "4*topk", "aten::bincount": "12*topk"} == given


def test_of_sorted_values_the_first_keeps_the_storage_of_all():
    """A GPU's unique gives a view of all that it sorted; what it counts has its own size."""

    def body(s, device):
        x = torch.arange(s["num_tokens"] * 2, device=device)
        return torch.unique(x, return_counts=True, return_inverse=True)

    sizes = [str(one.requested) for one in proved(body).allocations]
    assert "16*num_tokens" == sizes[0]
    assert sizes.count("16*num_tokens") >= 2


def test_two_expressions_are_one_where_all_that_is_known_says_so():
    """A tensor that grows in place asks for bytes; one that keeps its size asks for none."""

    def body(s, device):
        x = torch.empty(s["topk"], 2, dtype=torch.uint8, device=device)
        x.resize_(2 * s["topk"])
        y = torch.empty(s["num_tokens"], dtype=torch.uint8, device=device)
        y.resize_(s["num_tokens"] + 1)

    assert ["2*topk", "num_tokens", "num_tokens + 1"] == [
        str(one.requested) for one in proved(body).allocations
    ]


def test_a_size_made_a_number_is_told_with_its_value_and_the_line_that_made_it_one():
    def body(s, device):
        torch.empty(2 * s["num_tokens"], dtype=torch.uint8, device=device)
        if s["num_tokens"] == 7:
            return s["topk"] > 5
        return None

    trace = proved(body)
    value, frame = trace.specialised["num_tokens"]
    assert (7, body.__code__.co_firstlineno + 2) == (value, frame.line)
    assert ["14"] == [str(one.requested) for one in trace.allocations]
    assert {"num_tokens"} == trace.specialised.keys()


def test_axes_are_at_least_what_the_hints_say():
    """One of least 16 may be asked whether it is more than 15 without a guard."""
    seen = []

    def build(sizes, device):
        return lambda: seen.append((bool(sizes["topk"] > 15), bool(sizes["num_tokens"] > 0)))

    trace = ProveLane(HERE).run(build, Hints(HINTS, (), {"topk": 16}))
    assert ([(True, True)], ()) == (seen, trace.guards)
    trace = ProveLane(HERE).run(
        lambda sizes, device: lambda: bool(sizes["topk"] > 16), Hints(HINTS, (), {"topk": 16})
    )
    assert ["topk > 16"] == [str(guard.formula) for guard in trace.guards]


def test_ordinary_data_answers_what_it_can_and_its_answer_is_a_guard():
    """As many distinct ones as the least of the bounds: seven tokens, fewer than blocks."""

    def body(s, device):
        blocks = torch.arange(s["num_tokens"], device=device) % s["num_blocks"]
        found = torch.unique(blocks)
        if found.shape[0] > 3:
            torch.empty(1, dtype=torch.uint8, device=device)
        if found.shape[0] > 7:
            torch.empty(2, dtype=torch.uint8, device=device)

    trace = proved(body)
    assert "1" == str(trace.allocations[-1].requested)
    texts = [str(guard.formula) for guard in trace.guards]
    assert any("distinct_blocks" in text and "3" in text for text in texts)
    assert any("distinct_blocks" in text and "7" in text for text in texts)
    values = {**HINTS, "distinct_blocks": 7}
    assert all(guard.formula(values) for guard in trace.guards)
    values["distinct_blocks"] = 8
    assert not all(guard.formula(values) for guard in trace.guards)
    values["distinct_blocks"] = 3
    assert not all(guard.formula(values) for guard in trace.guards)
