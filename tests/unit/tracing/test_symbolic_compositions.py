"""Operators whose parts are spelled out for symbols: the same requests as the shadow lane's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from oom_suite.records.symbolic import Hints
from oom_suite.tracing.prove import ProveLane
from oom_suite.tracing.shadow import ShadowLane

HERE = Path(__file__).parent
SIZES = {"rows": 6, "width": 44}
CALLS = {
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x),
    "logsumexp": lambda x: x.logsumexp(-1),
    "logsumexp-keepdim": lambda x: x.logsumexp((0, 1), keepdim=True),
    "bce": lambda x: F.binary_cross_entropy_with_logits(x, x),
    "bce-weights": lambda x: F.binary_cross_entropy_with_logits(x, x, x, pos_weight=x[0]),
    "bce-none": lambda x: F.binary_cross_entropy_with_logits(x, x, reduction="none"),
    "dist": lambda x: torch.dist(x, x),
    "isinf": torch.isinf,
}


def live_sums(sizes, events):
    """The bytes alive right after each request."""
    found, live = [], 0
    for kind, number in events:
        live += sizes[number] if kind == "alloc" else -sizes[number]
        if kind == "alloc":
            found.append(live)
    return found


@pytest.mark.parametrize("name", CALLS)
def test_symbols_hold_what_sizes_hold(name):
    """The live sum after every request, in order, to the byte."""

    def build(sizes, device):
        x = torch.zeros(sizes["rows"], 4, sizes["width"], 8, device=device)
        return lambda: CALLS[name](x)

    symbolic = ProveLane(HERE).run(build, Hints(SIZES))
    exact = ShadowLane(HERE).run(build, SIZES)
    expected = live_sums(
        [allocation.requested_bytes for allocation in exact.allocations],
        [(event.kind, event.allocation) for event in exact.events],
    )
    actual = live_sums([int(a.requested(SIZES)) for a in symbolic.allocations], symbolic.events)
    assert expected == actual
