"""What holds a tensor, as the code that holds it would say."""

from __future__ import annotations

import functools
import gc
import sys
from typing import ClassVar

import pytest
import torch

from oom_suite.torch_compat.dispatch import storage_key
from oom_suite.tracing.holders import _holders, _Trail, holders

KEPT, NESTED, TABLE = {}, {}, torch.nn.Module()
STATE = type("State", (), {})()


class Decoder:
    rows: torch.Tensor | None = None
    seen: ClassVar[dict[str, torch.Tensor]] = {}


def remember():
    """A function that has what it was given last."""


def defaults(seen=[]):  # noqa: B006  # what is looked for
    return seen


@functools.cache
def cached():
    return []


def in_a_closure(tensor):
    seen = [tensor]
    return lambda: seen


def in_a_closure_s_state(tensor):
    state = type("State", (), {})()
    state.rows = tensor
    return lambda: state


def named(tensor, file=__file__):
    """The holder's name, where only this file is under test."""
    key = storage_key(tensor.untyped_storage())
    return holders({key}, lambda each: each == file, is_old=True).get(key)


def frame_with(_tensor):
    """The frame of a call that is over, which has what the call was given."""
    return sys._getframe()


def in_a_global(tensor):
    sys.modules[__name__].ROWS = tensor


def in_a_function_s_table(tensor):
    remember.table = {"first": tensor}


def in_an_object_of_a_global(tensor):
    STATE.rows = [tensor]


def in_a_global_s_table(tensor):
    NESTED["a"] = {"b": tensor}


HOLDERS = {
    "a global": (in_a_global, "ROWS"),
    "a dict": (lambda x: KEPT.__setitem__("x", x), "KEPT"),
    "a dict of dicts": (in_a_global_s_table, "NESTED"),
    "a module's buffer": (lambda x: TABLE.register_buffer("rows", x), "TABLE.rows"),
    "an object's list": (in_an_object_of_a_global, "STATE.rows"),
    "a class": (lambda x: setattr(Decoder, "rows", x), "Decoder.rows"),
    "a class's dict": (lambda x: Decoder.seen.__setitem__("x", x), "Decoder.seen"),
    "a function": (lambda x: setattr(remember, "last", x), "remember.last"),
    "a function's dict": (in_a_function_s_table, "remember.table"),
    "a default argument": (lambda x: defaults().append(x), "a default argument of defaults"),
    "a cache": (lambda x: cached().append(x), "cached's cache"),
    "a closure": (in_a_closure, "seen of in_a_closure.<locals>.<lambda>"),
    "an object in a closure": (
        in_a_closure_s_state, "state.rows of in_a_closure_s_state.<locals>.<lambda>",
    ),
}  # fmt: skip


@pytest.fixture
def empty():
    """Nothing is held before or after a test."""

    def clear():
        for held in (KEPT, NESTED, Decoder.seen, vars(remember), defaults(), TABLE._buffers):
            held.clear()
        cached.cache_clear()
        Decoder.rows = STATE.rows = None
        vars(sys.modules[__name__]).pop("ROWS", None)

    clear()
    yield
    clear()


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize(("hold", "expected"), HOLDERS.values(), ids=HOLDERS)
def test_a_holder_has_the_name_that_the_code_gives_it(hold, expected):
    tensor = torch.zeros(3)
    kept = hold(tensor)
    assert expected == named(tensor)
    del kept


@pytest.mark.usefixtures("empty")
def test_a_global_of_another_file_has_its_module_s_name():
    KEPT["x"] = tensor = torch.zeros(3)
    assert f"{__name__}.KEPT" == named(tensor, "elsewhere.py")


@pytest.mark.usefixtures("empty")
def test_who_has_no_name_is_known_by_its_kind():
    """A local object: its class, and the attribute on the way down from it."""
    tensor = torch.zeros(3)
    decoder = Decoder()
    decoder.rows = tensor
    assert named(tensor) == "Decoder.rows"


@pytest.mark.usefixtures("empty")
def test_a_view_is_held_by_whoever_holds_any_tensor_of_its_memory():
    rows = torch.zeros(3, 4)
    KEPT["first"] = rows[0]
    assert named(rows) == "KEPT"


def test_what_was_seen_or_runs_is_looked_at_no_further():
    """Each object once in a search; a frame borrows what it has."""
    held, seen = [], set()
    kept, ended, trail = [held], frame_with(held), _Trail(held)
    assert [True] == [each is kept for each in _holders(held, seen)]
    assert [] == list(_holders(held, seen))
    assert id(kept) in seen
    del ended, trail


def test_what_only_a_running_call_has_nobody_holds():
    assert named(torch.zeros(3)) is None


@pytest.mark.usefixtures("empty")
def test_a_gradient_is_held_as_such():
    weight = torch.zeros(3, requires_grad=True)
    weight.sum().backward()
    KEPT["x"] = weight
    assert named(weight.grad) == ".grad"


@pytest.mark.usefixtures("empty")
def test_what_a_backward_pass_needs_is_held_by_the_graph_of_its_result():
    """Its tensors are none of Python's: what is not found otherwise is said to be there."""
    weight = torch.zeros(3, requires_grad=True)
    KEPT["x"] = result = (weight * 2).exp()
    at, inside = storage_key(result.untyped_storage()), -7
    found = holders({at, inside}, lambda file: file == __file__, is_old=True)
    assert {at: "KEPT", inside: "the graph of KEPT"} == found


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize(("is_old", "expected"), [(True, "KEPT"), (False, None)])
def test_what_was_there_before_a_fork_is_looked_at_where_that_is_asked_for(is_old, expected):
    """The collector sees it again from then on."""
    KEPT["x"] = tensor = torch.zeros(3)
    key = storage_key(tensor.untyped_storage())
    gc.collect()
    gc.freeze()
    try:
        found = holders({key}, lambda file: file == __file__, is_old=is_old)
        assert (expected, is_old) == (found.get(key), gc.get_freeze_count() == 0)
    finally:
        gc.unfreeze()


@pytest.mark.usefixtures("empty")
def test_without_a_graph_what_is_not_found_is_left_out():
    KEPT["x"] = tensor = torch.zeros(3)
    at = storage_key(tensor.untyped_storage())
    assert {at: "KEPT"} == holders({at, -7}, lambda file: file == __file__, is_old=True)
