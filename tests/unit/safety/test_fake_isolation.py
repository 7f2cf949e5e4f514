"""Work with fake tensors gives the same in a fork and in place; what it leaves differs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch._subclasses import fake_tensor

from oom_suite.errors import LaneError, NotApplicableError
from oom_suite.safety import fake_isolation
from oom_suite.torch_compat import fake_cuda
from oom_suite.tracing.shadow import ShadowLane

_left: list[int] = []


def work():
    _left.append(1)
    return len(_left)


def refusing():
    raise NotApplicableError("not for this device")


def failing():
    raise ValueError("no such block\nand more")


def ending():
    raise KeyError


@pytest.fixture(autouse=True)
def nothing_left():
    """Each test begins with nothing kept."""
    _left.clear()


def test_a_fork_leaves_nothing_and_work_in_place_what_it_kept():
    """What code keeps in a global is gone with the fork; in place the next run meets it."""
    assert [1, 1] == [fake_isolation.in_fork(work, 60.0) for _ in range(2)]
    assert [1, 2] == [fake_isolation.in_place(work, 60.0) for _ in range(2)]


@pytest.mark.parametrize("run", [fake_isolation.in_fork, fake_isolation.in_place])
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (refusing, "not for this device"),
        (failing, "ValueError: no such block"),
        (ending, "KeyError"),
    ],
)
def test_an_error_is_one_line_either_way(run, broken, said):
    """Whatever the code raises is told in the same words."""
    with pytest.raises(LaneError) as caught:
        run(broken, 60.0)
    assert said == str(caught.value)


def test_a_fork_of_a_process_that_uses_a_gpu_asks_no_driver(monkeypatch):
    """The driver refuses such a fork everything; fake tensors are on the GPU there all the same."""
    made = []

    def build(sizes, device):
        return lambda: made.append(torch.zeros(sizes["n"], device=device).device.type)

    def asked(_device):
        raise AssertionError("the driver was asked")

    monkeypatch.setattr(fake_tensor, "init_gpu_context", asked)
    monkeypatch.setattr(fake_cuda, "_has_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    ShadowLane(Path(__file__).parent).run(build, {"n": 2})
    assert ["cuda"] == made
