"""Where a measurement is made, read from what is there."""

from __future__ import annotations

import platform
import sys
from types import SimpleNamespace

import pytest
import torch

from oom_suite.tracing.measure import environment as module
from oom_suite.tracing.measure.environment import SETTINGS, allocator_settings, environment


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)


def test_a_cpu_has_no_driver_no_runtime_and_no_caching_allocator(monkeypatch):
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    found = environment(torch.device("cpu"))
    assert ("cpu", platform.machine()) == (found.device_type, found.arch)
    assert ("", "", "") == (found.driver, found.runtime, found.allocator)
    assert torch.__version__ == found.torch


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_read_from_each_of_torchs_variables_in_one_order(monkeypatch, name):
    monkeypatch.setenv(name, " roundup_power2_divisions:4, expandable_segments:True,")
    assert "expandable_segments:True,roundup_power2_divisions:4" == allocator_settings()


def test_settings_with_lists_stay_whole(monkeypatch):
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "roundup_power2_divisions:[256:1,512:2,>:4]")
    assert "roundup_power2_divisions:[256:1,512:2,>:4]" == allocator_settings()


def test_no_settings_are_no_text():
    assert "" == allocator_settings()


@pytest.fixture
def gpu(monkeypatch):
    """A GPU's properties, CUDA's or HIP's."""

    def of(**properties):
        found = SimpleNamespace(**properties)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: found)

    return of


def test_a_cuda_device_is_told_by_name_capability_driver_and_runtime(gpu, monkeypatch, tmp_path):
    gpu(name="NVIDIA H200", major=9, minor=0)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    file = tmp_path / "version"
    file.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.159.04  Sat\n")
    monkeypatch.setattr(module, "_NVIDIA_DRIVER", file)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    found = environment(torch.device("cuda", 0))
    assert ("cuda", "NVIDIA H200", "sm_90") == (found.device_type, found.device, found.arch)
    assert ("580.159.04", "CUDA 13.0") == (found.driver, found.runtime)


def test_a_hip_device_is_told_by_its_gcn_name_and_the_amdgpu_module(gpu, monkeypatch, tmp_path):
    gpu(name="AMD Instinct MI325X", gcnArchName="gfx942:sramecc+:xnack-", major=9, minor=4)
    file = tmp_path / "version"
    file.write_text("6.12.12\n")
    monkeypatch.setattr(module, "_AMD_DRIVER", file)
    monkeypatch.setattr(torch.version, "hip", "7.0.51831")
    found = environment(torch.device("cuda", 0))
    assert ("hip", "gfx942:sramecc+:xnack-") == (found.device_type, found.arch)
    assert ("6.12.12", "ROCm 7.0.51831") == (found.driver, found.runtime)


def test_a_driver_that_nobody_names_is_empty(gpu, monkeypatch, tmp_path):
    gpu(name="NVIDIA H200", major=9, minor=0)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(module, "_NVIDIA_DRIVER", tmp_path / "absent")
    monkeypatch.setattr(torch.version, "hip", None)
    assert "" == environment(torch.device("cuda", 0)).driver


@pytest.mark.parametrize("version", ["580.159.04", b"580.159.04"])
def test_a_driver_is_told_by_its_own_library_as_text_or_bytes(gpu, monkeypatch, version):
    """Which is shut down again."""
    calls = []
    library = SimpleNamespace(
        nvmlInit=lambda: calls.append("init"),
        nvmlSystemGetDriverVersion=lambda: version,
        nvmlShutdown=lambda: calls.append("shutdown"),
    )
    gpu(name="NVIDIA H200", major=9, minor=0)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(torch.version, "hip", None)
    assert "580.159.04" == environment(torch.device("cuda", 0)).driver
    assert ["init", "shutdown"] == calls


def test_a_library_that_fails_is_shut_down_and_the_module_is_asked(gpu, monkeypatch, tmp_path):
    calls = []

    def fails():
        raise RuntimeError("no driver")

    library = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlSystemGetDriverVersion=fails,
        nvmlShutdown=lambda: calls.append("shutdown"),
    )
    gpu(name="NVIDIA H200", major=9, minor=0)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(torch.version, "hip", None)
    for text, driver in (("Module  580.159  Sat", "580.159"), ("none here, not even 5", "")):
        file = tmp_path / "version"
        file.write_text(text)
        monkeypatch.setattr(module, "_NVIDIA_DRIVER", file)
        assert driver == environment(torch.device("cuda", 0)).driver
    assert ["shutdown"] * 2 == calls


def test_a_hip_device_without_the_amdgpu_module_has_no_driver(gpu, monkeypatch, tmp_path):
    gpu(name="AMD", major=9, minor=4)
    monkeypatch.setattr(module, "_AMD_DRIVER", tmp_path / "absent")
    monkeypatch.setattr(torch.version, "hip", "7.0")
    found = environment(torch.device("cuda", 0))
    assert ("", "", "hip") == (found.driver, found.arch, found.device_type)


def test_a_gpu_has_the_allocators_settings_and_torchs_version(gpu, monkeypatch):
    gpu(name="NVIDIA H200", major=9, minor=0)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "a:1")
    found = environment(torch.device("cuda", 0))
    assert ("a:1", torch.__version__) == (found.allocator, found.torch)


def test_the_first_of_torchs_variables_that_says_something_counts(monkeypatch):
    for number, name in enumerate(SETTINGS):
        monkeypatch.setenv(name, f"a:{number}")
    assert "a:0" == allocator_settings()
    monkeypatch.setenv(SETTINGS[0], "")
    assert "a:1" == allocator_settings()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: A B C\nmodel name\t: other\n", "A B C"),
        ("processor : 0\n", "machine's own"),
        (None, "machine's own"),
    ],
)
def test_a_processor_is_told_by_the_system_or_by_python(monkeypatch, tmp_path, text, name):
    file = tmp_path / "cpuinfo"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(module, "_CPU_INFO", file)
    monkeypatch.setattr(platform, "processor", lambda: "machine's own")
    assert name == environment(torch.device("cpu")).device
