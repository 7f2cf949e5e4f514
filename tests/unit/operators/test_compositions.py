"""Operators that are made of others show what their parts allocate, as real tensors do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from oom_suite.operators.compositions import COMPOSITIONS
from oom_suite.tracing.measure import MeasureLane
from oom_suite.tracing.shadow import ShadowLane

HERE = Path(__file__).parent
aten = torch.ops.aten


def requests(lane, body):
    """The requests of ``body(x, i)``: floats [8, 16], and 24 small whole numbers."""

    def build(sizes, device):
        x = torch.ones(8, 16, device=device)
        i = torch.arange(24, device=device) % 5
        return lambda: body(x, i)

    return [(one.op, one.requested_bytes) for one in lane.run(build, {}).allocations]


def shadow(body):
    return requests(ShadowLane(HERE), body)


def into(x, i):
    torch.logsumexp(x, -1, out=torch.empty(8, device=x.device))


def write_rows(x, i):
    x[i[:8] > 2] = x[:2] + 1


def write_one_number(x, i):
    x[i[:8] > 2] = x[0, 0]


def add_rows(x, i):
    x.index_put_((i[:8] > 2,), x[:2] + 1, accumulate=True)


CALLS = {
    "aten::logsumexp": lambda x, i: x.logsumexp(-1),
    "aten::logsumexp.out": into,
    "aten::_safe_softmax": lambda x, i: aten._safe_softmax(x, -1),
    "aten::binary_cross_entropy_with_logits": lambda x, i: F.binary_cross_entropy_with_logits(x, x),
    "aten::dist": lambda x, i: torch.dist(x, x),
    "aten::isinf": lambda x, i: torch.isinf(x),
    "aten::index.Tensor": lambda x, i: x[i[:8] > 2],
    "aten::masked_select": lambda x, i: i.masked_select(i > 2),
    "aten::index_put": lambda x, i: x.index_put((i[:8] > 2,), x[:2] + 1),
    "aten::index_put_": write_rows,
    "aten::_index_put_impl_": lambda x, i: aten._index_put_impl_(x, [i[:8] > 2], x[:2] + 1, True),
}


def test_every_composition_is_called_here():
    assert COMPOSITIONS.keys() == CALLS.keys()


@pytest.mark.parametrize("name", CALLS)
def test_parts_allocate_with_fake_tensors_what_they_do_with_real_ones(name):
    """On the CPU: a GPU's kernel of `log_sigmoid` has an empty buffer where the CPU's has one."""
    expected = requests(MeasureLane(HERE, "cpu"), CALLS[name])
    assert expected == requests(ShadowLane(HERE, target="cpu"), CALLS[name])


COPIES = {
    "aten::logsumexp": 8 * 16 * 4,
    "aten::_safe_softmax": 8 * 16 * 4,
    "aten::binary_cross_entropy_with_logits": 8 * 16 * 4,
    "aten::dist": 8 * 16 * 4,
    "aten::isinf": 8 * 16,
}


@pytest.mark.parametrize("name", COPIES)
def test_a_temporary_as_large_as_the_input_is_seen(name):
    """It is no request of the operator itself, but of a part of it."""
    temporaries = [op for op, num_bytes in shadow(CALLS[name]) if num_bytes >= COPIES[name]]
    assert temporaries
    assert name not in temporaries


POSITIONS = {
    "rows": (lambda x, i: x[i[:8] > 2], [("aten::nonzero", 2 * 8), ("aten::index.Tensor", 2 * 64)]),
    "a whole mask": (
        lambda x, i: x[(i[:8] > 2)[:, None].expand(8, 16)],
        [("aten::nonzero", 32 * 2 * 8), ("aten::index.Tensor", 32 * 4)],
    ),
    "a mask after none": (
        lambda x, i: x[:, i[:16] > 2],
        [("aten::nonzero", 6 * 8), ("aten::index.Tensor", 8 * 6 * 4)],
    ),
    "a mask beside indices": (
        lambda x, i: x[i[:8] > 2, i[:2]],
        [("aten::nonzero", 2 * 8), ("aten::index.Tensor", 2 * 4)],
    ),
    "selected": (
        lambda x, i: x.masked_select(i[:16] > 2),
        [("aten::nonzero", 8 * 6 * 2 * 8), ("aten::index.Tensor", 8 * 6 * 4)],
    ),
    "selected by fewer": (
        lambda x, i: i[:16].masked_select(i[:8, None] > 2),
        [("aten::nonzero", 2 * 16 * 2 * 8), ("aten::index.Tensor", 2 * 16 * 8)],
    ),
    "no mask": (lambda x, i: x[i[:2]], [("aten::index.Tensor", 2 * 64)]),
    "written": (write_rows, [("aten::add.Tensor", 2 * 64), ("aten::nonzero", 2 * 8)]),
    "added": (add_rows, [("aten::add.Tensor", 2 * 64), ("aten::nonzero", 2 * 8)]),
    "one number": (write_one_number, []),
}


@pytest.mark.parametrize(("body", "expected"), POSITIONS.values(), ids=POSITIONS)
def test_a_mask_first_lists_the_positions_of_its_true_entries(body, expected):
    """int64, one for each dimension of the mask; what it is compared from is left out here."""
    found = [one for one in shadow(body) if not one[0].startswith("aten::gt")]
    assert expected == found


def test_a_write_that_adds_is_handed_on_as_one_that_adds():
    """The values are those of the operator itself."""
    seen = {}

    def body(x, i):
        whole = torch.zeros(4, dtype=torch.int64, device=x.device)
        at = torch.tensor([True, False, True, False], device=x.device)
        for _ in range(2):
            whole.index_put_((at,), torch.tensor(5, device=x.device).expand(2), accumulate=True)
        whole[at] = whole[at] + 1
        seen[x.device.type] = whole.tolist()

    shadow(body)
    assert [[11, 0, 11, 0]] == list(seen.values())
