"""Which children see a GPU."""

from __future__ import annotations

import os

import pytest

from fixtures.processes import HandlingChild as Child


@pytest.mark.parametrize(
    ("needs_gpu", "expected"), [(True, ("7", None)), (False, ("-1", "-1"))], ids=["gpu", "no-gpu"]
)
def test_only_a_child_that_measures_sees_this_processs_gpu(monkeypatch, needs_gpu, expected):
    """The others see none, from HIP either, whatever the server was started with."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.delenv("HIP_VISIBLE_DEVICES", raising=False)
    child = Child("functools:partial", (os.getenv,), time_limit_s=120.0, needs_gpu=needs_gpu)
    with child:
        seen = tuple(child.ask(name) for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"))
    assert expected == seen
