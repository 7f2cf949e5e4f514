"""The budget that is what a device has free now."""

from __future__ import annotations

import psutil
import pytest
import torch

from oom_suite.errors import UsageError
from oom_suite.pipeline.free_budget import free_budget
from oom_suite.targets import free_memory as module
from oom_suite.targets.free_memory import FreeMemory, free_memory


def test_the_free_memory_of_the_cpu_is_the_systems():
    """More than nothing, less than all, and named as what it is."""
    found = free_budget("cpu")
    assert 0 < found.free_bytes < psutil.virtual_memory().total
    assert found.name == "free memory of cpu"


def test_a_device_that_is_not_there_is_one_line():
    """With what torch says of it."""
    with pytest.raises(UsageError, match=r"budget 'free': device 'cuda:99' cannot be asked: "):
        free_budget("cuda:99")


def test_a_gpu_is_asked_by_its_driver(monkeypatch):
    """What cannot be used without taking it from somebody cannot be reserved either."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5, 9))
    properties = type("Properties", (), {"name": "H200"})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert FreeMemory("H200", 5, 9, 5) == free_memory(torch.device("cuda"))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("0", None), ("1", None), ("2", 3 * 1024)],
    ids=["heuristic", "always", "never"],
)
def test_a_system_that_promises_nothing_twice_is_known(monkeypatch, tmp_path, mode, expected):
    """In strict mode the sum of all promises has a bound."""
    (tmp_path / "mode").write_text(f"{mode}\n")
    (tmp_path / "meminfo").write_text("CommitLimit:  10 kB\nCommitted_AS:  7 kB\nHugePages: 0\n")
    monkeypatch.setattr(module, "_OVERCOMMIT", tmp_path / "mode")
    monkeypatch.setattr(module, "_MEMINFO", tmp_path / "meminfo")
    assert expected == free_memory(torch.device("cpu")).reservable_bytes
