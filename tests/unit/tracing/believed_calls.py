"""What code under test is told about its device, for the tests beside this file."""

from __future__ import annotations

from pathlib import Path

import torch

from oom_suite.records.symbolic import Hints
from oom_suite.tracing.prove import ProveLane
from oom_suite.tracing.shadow import ShadowLane

HERE = Path(__file__).parent
H200, MI325X = "cuda:sm_90", "rocm:gfx942"


def told(ask, name=H200, lane=ShadowLane):
    """What `ask(x)` gives inside a call; `x` is a float tensor [4] on the device it was given."""
    found = []

    def build(sizes, device):
        x = torch.ones(4, device=device)
        return lambda: found.append(ask(x))

    lane(HERE, target=name).run(build, Hints({}) if lane is ProveLane else {})
    return found[0]


CUDA = torch.device("cuda", 0)
