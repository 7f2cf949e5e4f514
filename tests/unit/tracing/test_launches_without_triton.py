"""Launches are intercepted wherever Triton has them, on classes that stand for Triton's."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from oom_suite.tracing.launches import recorded_launches

OWNERS = {
    "triton.runtime.jit": "JITFunction",
    "triton.runtime.autotuner": "Autotuner",
    "triton.runtime.interpreter": "InterpretedFunction",
}


def scale_kernel():
    raise AssertionError("a kernel was run")


@pytest.fixture
def triton(monkeypatch):
    """Classes with a ``run`` of their own, in modules named as Triton's; gives them by name."""
    for name in ("triton", "triton.runtime"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    made = {}
    for name, owner in OWNERS.items():
        module = ModuleType(name)
        made[owner] = type(owner, (), {"run": lambda self, *args, **kwargs: "ran"})
        setattr(module, owner, made[owner])
        monkeypatch.setitem(sys.modules, name, module)
    return SimpleNamespace(**made)


@pytest.mark.parametrize("owner", OWNERS.values())
def test_each_launcher_is_recorded_and_runs_again_afterwards(triton, owner):
    seen = []
    launcher = getattr(triton, owner)()
    launcher.fn = SimpleNamespace(fn=scale_kernel)
    with recorded_launches(lambda name, arguments: seen.append((name, arguments))):
        assert launcher.run("x", 4, grid=(1,), BLOCK=8) is None
        launcher.run("warm", warmup=True)
        launcher.run("y", warmup=False)
    assert [
        ("scale_kernel", ["x", 4, (1,), 8]),
        ("scale_kernel", ["y", False]),
    ] == seen
    assert "ran" == launcher.run("x")
    assert 2 == len(seen)


def test_a_kernel_without_a_name_is_told_by_its_text(triton):
    seen = []
    launcher = triton.JITFunction()
    launcher.fn = 7
    with recorded_launches(lambda name, arguments: seen.append(name)):
        launcher.run()
    assert ["7"] == seen


def test_a_kernel_that_was_compiled_before_is_launched_too(triton):
    """By what a warm-up gave, whose warps and memory are nobody's."""
    seen = []
    launcher = triton.JITFunction()
    launcher.fn = scale_kernel
    with recorded_launches(lambda name, arguments: seen.append((name, arguments))):
        compiled = launcher.run("x", warmup=True)
        compiled.packed_metadata = (4, 2, *compiled.packed_metadata[2:])
        assert [] == seen
        compiled[(7, 1, 1)]("x", 8)
    assert [("scale_kernel", ["x", 8])] == seen


@pytest.mark.parametrize("what", ["module", "class", "run"])
def test_a_triton_without_an_interpreter_has_two_launchers(triton, monkeypatch, what):
    if what == "module":
        monkeypatch.setitem(sys.modules, "triton.runtime.interpreter", None)
    elif what == "class":
        monkeypatch.delattr(sys.modules["triton.runtime.interpreter"], "InterpretedFunction")
    else:
        monkeypatch.delattr(triton.InterpretedFunction, "run")
    seen = []
    with recorded_launches(lambda name, arguments: seen.append(name)):
        for owner in ("JITFunction", "Autotuner"):
            launcher = getattr(triton, owner)()
            launcher.fn = scale_kernel
            launcher.run()
    assert ["scale_kernel"] * 2 == seen


@pytest.mark.parametrize("missing", ["triton.runtime.jit", "triton.runtime.autotuner"])
def test_without_triton_there_is_nothing_to_intercept(triton, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    launcher = triton.InterpretedFunction()
    with recorded_launches(lambda name, arguments: None):
        assert "ran" == launcher.run()
