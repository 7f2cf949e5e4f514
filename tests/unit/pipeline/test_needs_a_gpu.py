"""Code that cannot run without a GPU keeps its law on a machine that has none."""

from __future__ import annotations

import pytest
import torch
from studied import studied

from oom_suite.records import Verdict

AXES = {"pool": 256, "n": 64}


def builder(call):
    def build(sizes, device):
        x = torch.zeros(sizes.n, device=device)
        return lambda: call(x, sizes)

    return build


def on_a_stream(x, sizes):
    with torch.cuda.stream(torch.cuda.Stream()):
        return x + 1


NEED_ONE = {
    "a device written out": lambda x, sizes: x + torch.ones(sizes.n, device="cuda"),
    "a stream": on_a_stream,
    "an event": lambda x, sizes: (torch.cuda.Event().record(), x + 1),
    "waiting for it": lambda x, sizes: (torch.cuda.synchronize(), x + 1),
    "waiting for any": lambda x, sizes: (torch.accelerator.synchronize(), x + 1),
    "its generator": lambda x, sizes: torch.rand(sizes.n, generator=torch.Generator("cuda")),
    "choosing it": lambda x, sizes: (torch.cuda.set_device(0), x + 1),
    "pinned memory": lambda x, sizes: torch.zeros(sizes.n, pin_memory=True).to(x.device),
    "a pinned copy": lambda x, sizes: torch.zeros(sizes.n).pin_memory().to(x.device),
    "a pinned literal": lambda x, sizes: torch.tensor([1.0], pin_memory=True).to(x.device) + x,
}


@pytest.mark.parametrize("call", NEED_ONE.values(), ids=NEED_ONE)
def test_what_a_cpu_cannot_run_is_a_note_beside_the_law(call):
    """It says why, and at which line."""
    result = studied(builder(call), axes=AXES, independent_of="pool", measure=True)
    assert Verdict.PASS is result.verdict, result.reason
    (note,) = [note for note in result.notes if "not measured" in note]
    assert note.startswith("not measured on the CPU: it needs a GPU: ")
    assert "test_needs_a_gpu.py:" in note


def test_the_pool_in_such_code_fails():
    build = builder(lambda x, sizes: x + torch.ones(sizes.pool, device="cuda").sum())
    result = studied(build, axes=AXES, independent_of="pool", measure=True)
    assert Verdict.FAIL is result.verdict
    assert result.reason.startswith("peak grows with pool (4 bytes per pool)")


def test_what_fails_for_another_reason_is_inconclusive():
    """Only on the CPU: the law alone would pass."""

    def call(x, sizes):
        if x.device.type == "cpu":
            raise ValueError(f"{sizes.n} rows are too many")
        return x + 1

    result = studied(builder(call), axes=AXES, independent_of="pool", measure=True)
    assert Verdict.INCONCLUSIVE is result.verdict
    assert result.reason.startswith("cannot be measured on cpu: raised: ValueError: 64 rows are")


@pytest.mark.parametrize(
    ("axis", "verdict"), [("n", Verdict.PASS), ("pool", Verdict.FAIL)], ids=["healthy", "faulty"]
)
def test_a_pinned_literal_is_in_the_law_of_pinned_memory(axis, verdict):
    """And in no other: it is made there at once. Its numbers stay known."""

    def build(sizes, device):
        rows = list(range(sizes[axis]))

        def call():
            pinned = torch.tensor(rows, pin_memory=True)
            assert pinned.is_pinned()
            assert rows[-1] == int(pinned[-1])
            return pinned[:1].to(device, non_blocking=True)

        return call

    result = studied(build, axes=AXES, independent_of="pool")
    assert verdict is result.verdict, result.reason
    if verdict is Verdict.FAIL:
        assert result.reason.startswith("pinned host memory: peak grows with pool (8 bytes per ")
