"""Operators of attention code: what they allocate inside is seen, or flagged; the lanes agree."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from oom_suite.tracing.shadow import ShadowLane


def three(device):
    x = torch.ones(8, 16, device=device)
    return x, x.to(torch.bfloat16), torch.arange(24, device=device) % 5


def batch(x):
    return x.view(2, 4, 16), x.view(2, 16, 4)


SEEN = {
    "logsumexp": lambda x, h, i: torch.logsumexp(x, -1),
    "logsumexp bf16": lambda x, h, i: torch.logsumexp(h, -1, keepdim=True),
    "logsumexp out": lambda x, h, i: torch.logsumexp(x, -1, out=torch.empty(8, device=x.device)),
    "mean": lambda x, h, i: h.mean(-1, dtype=torch.float32),
    "softmax": lambda x, h, i: x.softmax(-1),
    "softmax to float": lambda x, h, i: h.softmax(-1, dtype=torch.float32),
    "isfinite": lambda x, h, i: torch.isfinite(x),
    "isinf": lambda x, h, i: torch.isinf(x),
    "nan_to_num": lambda x, h, i: torch.nan_to_num(x),
    "masked_fill": lambda x, h, i: x.masked_fill(x > 0, float("-inf")),
    "where": lambda x, h, i: torch.where(x > 0, x, 0.0),
    "index": lambda x, h, i: x[i, None],
    "index_select": lambda x, h, i: x.index_select(0, i),
    "index_put": lambda x, h, i: x.index_put((i,), x[0]),
    "baddbmm": lambda x, h, i: torch.baddbmm(x.view(2, 4, 16)[:, :, :4], *batch(x)),
    "einsum": lambda x, h, i: torch.einsum("thd,tkd->thk", x.view(2, 4, 16), x.view(2, 4, 16)),
    "layer_norm": lambda x, h, i: F.layer_norm(x, (16,), x[0], x[1]),
    "rms_norm": lambda x, h, i: F.rms_norm(h, (16,), h[0]),
    "pad": lambda x, h, i: F.pad(x, (0, 3), value=-1.0),
    "gather": lambda x, h, i: x.gather(1, i.view(8, 3)),
    "scatter": lambda x, h, i: x.scatter(1, i.view(8, 3), 1.0),
    "scatter_add": lambda x, h, i: x.scatter_add(1, i.view(8, 3), x[:, :3]),
    "fp8": lambda x, h, i: h.to(torch.float8_e4m3fn).view(torch.uint8)[:4].float(),
    "searchsorted": lambda x, h, i: torch.searchsorted(i[:5], i),
    "exp2": lambda x, h, i: torch.exp2(x - x.amax(-1, keepdim=True)),
}


@pytest.mark.parametrize("body", SEEN.values(), ids=SEEN)
def test_shadow_equals_measure(shadow, measure, body):
    """Requests, frees and lines are the same with fake tensors and with real ones."""
    expected, actual = measure(body, three), shadow(body, three)
    assert expected.allocations == actual.allocations
    assert expected.events == actual.events
    assert () == actual.unseen


UNSEEN = {
    "unique": lambda x, h, i: torch.unique(i),
    "unique rows": lambda x, h, i: torch.unique(i.view(12, 2), dim=0),
    "sort": lambda x, h, i: x.sort(-1),
    "topk": lambda x, h, i: x.topk(3),
    "cumsum": lambda x, h, i: i.cumsum(0),
    "nonzero": lambda x, h, i: torch.nonzero(i > 2),
    "bincount": lambda x, h, i: torch.bincount(i),
    "softmax of a transpose": lambda x, h, i: x.t().softmax(-1),
    "index_put that adds": lambda x, h, i: x.index_put_((i,), x[0] + 1, accumulate=True),
    "a mask": lambda x, h, i: x[i[:8] > 2],
    "attention": lambda x, h, i: F.scaled_dot_product_attention(*[x.view(1, 2, 4, 16)] * 3),
    "conv1d": lambda x, h, i: F.conv1d(x[None], x.view(8, 8, 2)),
    "mse_loss": lambda x, h, i: F.mse_loss(x, x),
    "repeat_interleave": lambda x, h, i: x.repeat_interleave(i[:8], 0),
}


@pytest.mark.parametrize("body", UNSEEN.values(), ids=UNSEEN)
def test_scratch_that_no_size_fixes_is_flagged(record, body):
    """An operator with scratch of its own is named with its line and its reason."""
    found = record(body, three).unseen
    assert 1 == len(found)
    assert ("test_operators.py", "<lambda>") == (found[0].stack[0].file, found[0].stack[0].function)
    assert found[0].input_bytes > 0
    assert found[0].reason


class Table:
    """Makes a tensor of a number that is written to it, as torch does for its own."""

    def __init__(self, device):
        self.device = device


_OF_TORCH = compile(
    "def written(self, index, value):\n    self.made = make(value, device=self.device)\n",
    torch.__file__,
    "exec",
)


@pytest.mark.parametrize(("target", "expected"), [("generic", []), ("cpu", [4])])
def test_a_number_that_is_written_to_an_element_is_kept_on_the_host(monkeypatch, target, expected):
    """No request of the device's; where the device is the host, it is one."""
    names = {"make": torch.scalar_tensor}
    exec(_OF_TORCH, names)
    monkeypatch.setattr(Table, "__setitem__", names["written"], raising=False)

    def build(sizes, device):
        table = Table(device)

        def call():
            table[0] = 5.0

        return call

    made = ShadowLane(Path(__file__).parent, target=target).run(build, {}).allocations
    assert expected == [each.requested_bytes for each in made]


def test_unique_keeps_storage_for_every_entry_as_on_a_gpu(shadow):
    """The values of unique take the bytes of all that was sorted, as an H200 counts them."""

    def repeated(device):
        return None, None, torch.arange(512, device=device) % 16

    trace = shadow(lambda x, h, i: torch.unique(i, return_inverse=True), repeated)
    assert [512 * 8, 512 * 8] == [a.requested_bytes for a in trace.allocations]
    assert "aten::_unique2" == trace.unseen[0].op


def test_value_assigned_to_elements_takes_nothing_as_on_a_gpu(shadow):
    """The number in ``x[mask] = 0.0`` stays on the host; one made by hand is a request."""

    def assign(x, h, i):
        x[x > 0] = 0.0

    def by_hand(x, h, i):
        return torch.scalar_tensor(0.0, device=x.device)

    assert ["aten::gt.Scalar"] == [a.op for a in shadow(assign, three).allocations]
    assert [4] == [a.requested_bytes for a in shadow(by_hand, three).allocations]


def test_calls_without_scratch_are_not_flagged(shadow):
    """The healthy twins of flagged calls are silent."""
    trace = shadow(lambda x, h, i: (x.softmax(-1), x.index_put_((i,), x[0]), x.amax(0)), three)
    assert () == trace.unseen


def test_the_temporary_of_logsumexp_is_in_the_trace(record):
    """logsumexp takes a temporary as large as its input, and it is at the peak."""
    assert record(lambda x, h, i: torch.logsumexp(x, -1), three).peak().num_bytes >= 8 * 16 * 4


@pytest.mark.parametrize(
    ("body", "positions_bytes"),
    [
        (lambda x, h, i: x[i[:8] > 2], 2 * 8),
        (lambda x, h, i: x[(i[:8] > 2)[:, None].expand(8, 16)], 2 * 16 * 2 * 8),
        (lambda x, h, i: i.masked_select(i > 2), 9 * 8),
        (lambda x, h, i: x.__setitem__(i[:8] > 2, x[:2] + 1), 2 * 8),
    ],
)
def test_a_mask_takes_a_list_of_its_entries(record, body, positions_bytes):
    """Indexing with a mask asks for the int64 positions of its true entries first."""
    requests = [a for a in record(body, three).allocations if a.op == "aten::nonzero"]
    assert [positions_bytes] == [a.requested_bytes for a in requests]


OPERATIONS = {
    "add": lambda v, i: v + 1,
    "in place": lambda v, i: v.mul_(2),
    "transpose": lambda v, i: v.t(),
    "contiguous": lambda v, i: v.contiguous(),
    "half": lambda v, i: v.to(torch.bfloat16),
    "float": lambda v, i: v.float(),
    "cat": lambda v, i: torch.cat([v, v]),
    "slice": lambda v, i: v[1:] if v.shape[0] > 1 else v,
    "copy of a slice": lambda v, i: v[:, :2].clone(),
    "index": lambda v, i: v[i % v.shape[0]],
    "logsumexp": lambda v, i: torch.logsumexp(v, 0, keepdim=True),
    "softmax": lambda v, i: v.softmax(-1),
    "mask": lambda v, i: v[(torch.arange(v.shape[0], device=v.device) % 2) == 0],
    "where": lambda v, i: torch.where(v > 0, v, 0.0),
    "matmul": lambda v, i: v @ v.t(),
    "empty": lambda v, i: torch.zeros_like(v),
    "expand": lambda v, i: v[:1].expand(3, -1),
}


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    program=st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 9)), max_size=8),
    num_rows=st.integers(1, 5),
    keep=st.integers(1, 3),
)
def test_random_programs_give_the_same_trace_in_both_lanes(
    shadow, measure, program, num_rows, keep
):
    """Any small program asks for the same bytes, in the same order, on the same lines."""

    def body(x, i):
        alive = [x]
        for name, which in program:
            alive.append(OPERATIONS[name](alive[which % len(alive)], i))
            del alive[:-keep]
        return alive

    def make(device):
        return torch.ones(num_rows, 4, device=device), torch.arange(6, device=device) % 3

    try:
        expected = measure(body, make)
    except RuntimeError:
        # No program at all: the shadow lane does not check values, overlaps among them.
        reject()
    actual = shadow(body, make)
    assert expected.allocations == actual.allocations
    assert expected.events == actual.events
    assert expected.unseen == actual.unseen
