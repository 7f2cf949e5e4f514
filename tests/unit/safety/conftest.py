"""Targets whose call is a small decode function around a built-in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from oom_suite.doors import workload as find_workload
from oom_suite.safety.steps import Target
from oom_suite.workloads.sparse_mla.builtins import token_gather_decode

ROOT = Path(__file__).parent


@pytest.fixture
def safety_target():
    """`safety_target(extra, workload)`: token_gather, then ``extra(step)``, as a target."""

    def target(extra=None, workload="decode", call=None):
        def decode(**step):
            token_gather_decode(**step)
            if extra is not None:
                extra(step)

        return Target(call or decode, ROOT, find_workload(workload), torch.device("cpu"))

    return target
