"""What the tests of threads have in common: inputs, and work that a thread is given."""

from __future__ import annotations

from pathlib import Path

import torch

from oom_suite.records.symbolic import Hints
from oom_suite.tracing.prove import ProveLane


def floats(device):
    return (torch.zeros(16, device=device),)


def work(x):
    made = x + 1
    return made[:2] * 2


def proved(body):
    def build(sizes, device):
        x = torch.zeros(sizes["n"], device=device)
        return lambda: body(x)

    return ProveLane(Path(__file__).parent).run(build, Hints({"n": 16}))
