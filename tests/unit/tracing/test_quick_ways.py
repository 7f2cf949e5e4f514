"""Quick ways of the lanes give what the slow ones do."""

from __future__ import annotations

import contextlib
import types

import pytest
import sympy
import torch

from oom_suite.targets.target import target
from oom_suite.tracing.believing import _patch, believing
from oom_suite.tracing.index_ranges import floor_quotient


class Old:
    """Has a name that others have from here."""

    name = "old"


class Own(Old):
    """Has no name of its own."""


def lazy():
    """A module that makes its names when they are asked for."""
    module = types.ModuleType("lazy")
    module.__getattr__ = lambda name: "made" if name == "name" else _no(name)
    return module


def _no(name):
    raise AttributeError(name)


@pytest.mark.parametrize("owner", [Old, Own, lazy()], ids=["own", "inherited", "lazy"])
def test_a_name_is_back_where_it_was_after_an_error_too(owner):
    """And one that was not there is not made."""
    before, names = owner.name, {key for key in vars(owner) if not key.startswith("__")}
    with contextlib.suppress(ValueError), contextlib.ExitStack() as undo:
        _patch(undo, owner, {"name": "new", "other": 1})
        assert ("new", False) == (owner.name, hasattr(owner, "other"))
        raise ValueError
    assert before == owner.name
    assert names == {key for key in vars(owner) if not key.startswith("__")}


def test_torch_is_as_it_was_after_two_beliefs_one_in_the_other():
    modules = (torch, torch.cuda, torch.accelerator, torch.version, torch.backends.cudnn)
    before = [dict(vars(module)) for module in modules]
    with believing(target("cuda:sm_90")), believing(target("rocm:gfx942")):
        assert torch.cuda.is_available()
    for module, had in zip(modules, before, strict=True):
        has = vars(module)
        assert had.keys() == has.keys()
        assert [] == [name for name in had if had[name] is not has[name]]


@pytest.mark.parametrize("divisor", range(1, 8))
def test_a_quotient_of_whole_numbers_is_python_s(divisor):
    for dividend in range(30):
        found = floor_quotient(sympy.Integer(dividend), sympy.Integer(divisor))
        assert dividend // divisor == found
        assert found.is_Integer
