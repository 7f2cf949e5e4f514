"""What calls leave alive: a leak fails whatever is promised, what is kept once is named."""

from __future__ import annotations

import functools
import sys
from collections import deque
from typing import ClassVar

import pytest
import torch
from studied import studied

from oom_suite.records import Verdict

AXES = {"pool": 256, "n": 64}
PASS, FAIL = Verdict.PASS, Verdict.FAIL
ROW_BYTES = 4 * 64

LIST, DICT, MEMO, PINNED, LARGEST, POOLS, LAST = [], {}, {}, [], {}, {}, {}
RING = deque(maxlen=5)
WIDE_RING = deque(maxlen=200)
BATCH = []


class Decoder:
    rows: torch.Tensor | None = None
    seen: ClassVar[list[torch.Tensor]] = []


class Table(torch.nn.Module):
    def forward(self, x):
        if not hasattr(self, "positions"):
            self.register_buffer("positions", torch.arange(x.shape[0], device=x.device))
        return x + self.positions[:, None]


TABLE = Table()


def step(keep):
    """A builder of a call that makes two rows of n and gives ``keep`` the second."""

    def build(sizes, device):
        x = torch.zeros(sizes.n, device=device)

        def call():
            keep(x + 1)

        return call

    return build


def in_a_closure(sizes, device):
    x = torch.zeros(sizes.n, device=device)
    seen = []

    def call():
        seen.append(x + 1)

    return call


def keeps_growing_buffer(x):
    LAST["x"] = torch.cat([LAST.get("x", x[:0]), x])


def with_its_graph(sizes, device):
    weight = torch.zeros(sizes.n, device=device, requires_grad=True)

    def call():
        for_backward = (weight * 2).exp()
        LIST.append(for_backward.sum())

    return call


def on_the_host(x):
    LIST.append(x.cpu())


def in_pinned_memory(x):
    PINNED.append(torch.empty(x.shape[0], pin_memory=True))


def defaults(x, seen=[]):  # noqa: B006  # what is planted here
    seen.append(x)


LEAKS = {
    "a global list": (step(LIST.append), "LIST", ROW_BYTES, ""),
    "a dict keyed by the call": (
        step(lambda x: DICT.setdefault(len(DICT), x)), "DICT", ROW_BYTES, "",
    ),
    "a class's list": (step(Decoder.seen.append), "Decoder.seen", ROW_BYTES, ""),
    "a variable of a closure": (
        in_a_closure, "seen of in_a_closure.<locals>.call", ROW_BYTES, "",
    ),
    "a default argument": (step(defaults), "a default argument of defaults", ROW_BYTES, ""),
    "a buffer replaced by a larger one": (step(keeps_growing_buffer), "LAST", ROW_BYTES, ""),
    "the host": (step(on_the_host), "LIST", ROW_BYTES, " of host memory"),
    "pinned memory": (step(in_pinned_memory), "PINNED", ROW_BYTES, " of pinned host memory"),
}  # fmt: skip


@pytest.mark.parametrize(("build", "holder", "num_bytes", "name"), LEAKS.values(), ids=LEAKS)
def test_a_leak_fails_whatever_is_promised(build, holder, num_bytes, name):
    """The reason has the bytes a call, the line and what holds them; the blame is per call."""
    result = studied(build, axes=AXES, linear_in="n")
    assert FAIL is result.verdict, result.reason
    assert result.reason.startswith(f"each call leaves {num_bytes} bytes{name} alive at test_kept")
    assert result.reason.endswith(f", held by `{holder}`: a leak")
    (blame,) = result.blame
    assert ("call", num_bytes) == (blame.axis, blame.bytes_per_unit)


def test_a_leak_on_the_host_is_left_out_with_it():
    result = studied(step(on_the_host), axes=AXES, linear_in="n", host=False)
    assert PASS is result.verdict


def test_what_a_gradient_needs_leaks_with_the_result_that_has_it():
    """The list holds a number; the graph behind it holds a row of n for the backward pass."""
    result = studied(with_its_graph, axes=AXES, linear_in="n")
    assert FAIL is result.verdict
    assert f"each call leaves {ROW_BYTES + 4} bytes alive" in result.reason
    assert {"LIST", "the graph of LIST"} == {kept.holder for kept in result.kept}


def memo(x):
    key = x.shape[0]
    if key not in MEMO:
        MEMO[key] = torch.arange(key, device=x.device)


@functools.lru_cache(maxsize=8)
def cached(num, device):
    return torch.arange(num, device=device)


def on_a_module(x):
    here = sys.modules[__name__]
    if not hasattr(here, "ATTRIBUTE"):
        here.ATTRIBUTE = torch.arange(x.shape[0], device=x.device)


def on_a_class(x):
    if Decoder.rows is None:
        Decoder.rows = x * 2


def grown_to_the_largest(x):
    if LARGEST.get("x", x[:0]).numel() < x.numel():
        LARGEST["x"] = torch.empty_like(x)


def emptied_now_and_then(x):
    BATCH.append(x)
    if len(BATCH) == 6:
        BATCH.clear()


def gradients(sizes, device):
    weight = torch.zeros(sizes.n, device=device, requires_grad=True)
    return lambda: (weight * 2).sum().backward()


def one_backward_pass(sizes, device):
    """Its second call has no graph any more: it needs inputs of its own."""
    weight = torch.zeros(sizes.n, device=device, requires_grad=True)
    loss = (weight * weight).sum()
    return loss.backward


def a_module(sizes, device):
    x = torch.zeros(sizes.n, 4, device=device)
    model = Table()
    return lambda: model(x)


KEPT = {
    "a memo": (step(memo), "MEMO", 8 * 64),
    "a functools cache": (
        step(lambda x: cached(x.shape[0], x.device)), "cached's cache", 8 * 64,
    ),
    "an attribute of a module": (step(on_a_module), "ATTRIBUTE", 8 * 64),
    "an attribute of a class": (step(on_a_class), "Decoder.rows", ROW_BYTES),
    "a ring": (step(RING.append), "RING", 5 * ROW_BYTES),
    "a wide ring": (step(WIDE_RING.append), "WIDE_RING", 200 * ROW_BYTES),
    "the last result": (step(lambda x: LAST.update(x=x)), "LAST", ROW_BYTES),
    "a workspace of the largest size": (step(grown_to_the_largest), "LARGEST", ROW_BYTES),
    "gradients": (gradients, ".grad", ROW_BYTES),
    "gradients of inputs made anew": (one_backward_pass, ".grad", ROW_BYTES),
    "a buffer registered once": (
        a_module, "model.positions of a_module.<locals>.<lambda>", 8 * 64,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("build", "holder", "num_bytes"), KEPT.values(), ids=KEPT)
def test_what_is_kept_once_passes_and_is_named(build, holder, num_bytes):
    """A note has its holder, its bytes at the size that they follow, and its line."""
    result = studied(build, axes=AXES, independent_of="pool")
    assert PASS is result.verdict, result.reason
    note = next(note for note in result.notes if note.startswith("kept by"))
    where = "" if build is one_backward_pass else ", made at test_kept_state.py:"
    assert note.startswith(f"kept by `{holder}`: {num_bytes:,} bytes at n=64{where}")
    assert [num_bytes] == [kept.num_bytes for kept in result.kept]


def test_a_list_that_is_emptied_is_no_leak():
    result = studied(step(emptied_now_and_then), axes=AXES, independent_of="pool")
    assert PASS is result.verdict, result.reason


def of_the_pool(sizes, device):
    cache = torch.zeros(sizes.pool, device=device)

    def call():
        if cache.shape[0] not in POOLS:
            POOLS[cache.shape[0]] = cache * 2

    return call


def test_a_memo_that_grows_with_a_forbidden_axis_fails():
    """It is in a first call's law; and it is named."""
    result = studied(of_the_pool, axes=AXES, independent_of="pool")
    assert (FAIL, "peak grows with pool (4 bytes per pool)") == (result.verdict, result.reason)
    assert any(note.startswith("kept by `POOLS`: 1,024 bytes at pool=256") for note in result.notes)


def test_the_same_memo_over_an_allowed_axis_passes():
    result = studied(of_the_pool, axes=AXES, independent_of="n")
    assert PASS is result.verdict, result.reason


def test_quadratic_state_breaks_a_linear_promise():
    """Code that keeps state has no proof: its fitted law is held to the promise too."""

    def build(sizes, device):
        x = torch.zeros(sizes.n, sizes.n, device=device)

        def call():
            memo(x)
            return x + 1

        return call

    result = studied(build, axes={"n": 8}, linear_in="n")
    assert FAIL is result.verdict
    assert result.reason.startswith("not at most linear in n: 4*n**2 in ")


def test_a_cycle_is_no_state():
    def build(sizes, device):
        x = torch.zeros(sizes.n, device=device)

        def call():
            cycle = [x + 1]
            cycle.append(cycle)

        return call

    result = studied(build, axes=AXES, independent_of="pool")
    assert (PASS, ()) == (result.verdict, result.kept)


def test_the_json_names_what_is_kept():
    result = studied(gradients, axes=AXES, independent_of="pool")
    (kept,) = result.to_json()["kept"]
    assert ("device", ".grad", ROW_BYTES) == (kept["memory"], kept["holder"], kept["num_bytes"])
