"""The target where nobody names one: the machine's own device, or the MI325X of the report."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from oom_suite.errors import UsageError
from oom_suite.targets import default, machine
from oom_suite.targets.default import default_target, default_targets
from oom_suite.targets.machine import Machine


@pytest.fixture
def on(monkeypatch, tmp_path):
    """A machine with these GPUs, told of in its files."""

    def place(runtime, *versions, nvidia=None):
        number = len(versions) or (nvidia is not None)
        monkeypatch.setattr(machine, "find_machine", lambda: Machine(runtime, number or None))
        monkeypatch.setattr(machine, "ROOT", tmp_path)
        for index, version in enumerate(versions):
            node = tmp_path / machine.KFD_NODES / str(index)
            node.mkdir(parents=True)
            text = f"simd_count 304\ngfx_target_version {version}\n"
            (node / "properties").write_text(text, encoding="utf-8")
        if nvidia is not None:
            monkeypatch.setitem(sys.modules, "pynvml", nvml(nvidia))

    return place


class NVMLError(Exception):
    """As NVML's bindings have it."""


def nvml(capability):
    """Bindings over one GPU of that compute capability; an error where it is none."""
    module = ModuleType("pynvml")

    def asked(_handle):
        if capability == ():
            raise NVMLError
        return capability

    module.NVMLError = NVMLError
    module.nvmlInit = module.nvmlShutdown = lambda: None
    module.nvmlDeviceGetHandleByIndex = lambda index: index
    module.nvmlDeviceGetCudaComputeCapability = asked
    return module


@pytest.mark.parametrize(
    ("expected", "runtime", "versions", "nvidia"),
    [
        ("rocm:gfx942", "", (), None),
        ("rocm:gfx942", "hip", (90402,), None),
        ("rocm:gfx950", "hip", (0, 90500), None),
        ("cuda:sm_90", "cuda", (), (9, 0)),
        ("cuda:sm_100", "cuda", (), (10, 0)),
        # Devices that no target describes, and one that says nothing.
        ("rocm:gfx942", "hip", (110000,), None),
        ("rocm:gfx942", "cuda", (), (8, 9)),
        ("rocm:gfx942", "cuda", (), ()),
    ],
)
def test_it_is_the_device_that_is_there(on, expected, runtime, versions, nvidia):
    on(runtime, *versions, nvidia=nvidia)
    assert expected == default_target({})


def test_an_architecture_is_read_as_its_compiler_spells_it(on):
    """Its last digit is hexadecimal."""
    on("hip", 90010)
    assert "gfx90a" == default._amd_arch(machine.ROOT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("generic", ("generic",)),
        ("H200, rocm:gfx942,MI325X", ("H200", "rocm:gfx942")),
        ("", ("cuda:sm_90",)),
    ],
)
def test_the_variable_names_others(on, text, expected):
    on("cuda", nvidia=(9, 0))
    assert expected == default_targets({default.VARIABLE: text})


def test_a_variable_that_names_none_is_one_line():
    with pytest.raises(UsageError, match=r"^OOM_SUITE_TARGET: unknown target 'gfx94'"):
        default_targets({default.VARIABLE: "gfx94"})
