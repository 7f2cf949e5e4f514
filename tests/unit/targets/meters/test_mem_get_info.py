"""The runtime's own free bytes, and the ROCm drivers that cannot say."""

from __future__ import annotations

import pytest
import torch

from oom_suite.targets.meters.mem_get_info import MemGetInfoMeter
from oom_suite.targets.meters.protocol import Device, MeterError

GIB = 1 << 30


@pytest.fixture
def meter(monkeypatch):
    """`meter(answer)`: over a torch that answers so, or raises it."""

    def meter(answer):
        def ask(index):
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "mem_get_info", ask)
        return MemGetInfoMeter(Device("hip", 0))

    return meter


def figures(meter):
    return {one.quantity: one.why_not or one.num_bytes for one in meter.read()}


def test_used_is_total_less_free(meter):
    """In bytes."""
    assert {"device total": 64 * GIB, "device used": GIB} == figures(meter((63 * GIB, 64 * GIB)))


def test_a_runtime_that_raises_is_the_reason(meter):
    """Some ROCm drivers do; one line of it is shown."""
    error = RuntimeError("HIP error: invalid argument\nCompile with ...")
    reason = "torch.cuda.mem_get_info failed: HIP error: invalid argument"
    assert {"device used": reason} == figures(meter(error))


def test_more_free_than_there_is_is_nonsense(meter):
    """No negative figure comes of it."""
    (reason,) = figures(meter((GIB + 1, GIB))).values()
    assert "it says 1.00 GiB of a total of 1.00 GiB" == reason


def test_a_torch_without_a_gpu_is_the_reason(monkeypatch):
    """Which torch is said."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MeterError, match=r"torch .* sees no GPU here"):
        MemGetInfoMeter(Device("cuda", 0))
