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
