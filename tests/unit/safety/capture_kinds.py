"""The kinds of what a capture refuses of one small call, for the tests beside this file."""

from __future__ import annotations

from pathlib import Path

import torch

from oom_suite.safety.capture import recorded

ROOT = Path(__file__).parent


def kinds(body):
    """The kinds of the hits of ``body(x, i)``: floats [4, 4] and whole numbers on the device."""

    def build(sizes, device):
        x = torch.ones(4, 4, device=device)
        i = torch.arange(4, device=device)
        return lambda: body(x, i)

    return [hit.kind for hit in recorded(build, {}, ROOT)]
