"""Literals in pinned memory, on a machine that can pin none."""

from __future__ import annotations

import pytest
import torch

LITERALS = {
    "numbers": ([1, 2, 3], {}, [24, -24]),
    "rows": ([[1.0, 2.0], [3.0, 4.0]], {"dtype": torch.float64}, [32, -32]),
    "one": (2.5, {}, [4, -4]),
    "none": ([], {}, []),
}


@pytest.mark.parametrize(("data", "options", "pinned"), LITERALS.values(), ids=LITERALS)
def test_a_pinned_literal_is_one_request_of_pinned_memory(shadow, short, data, options, pinned):
    """With its values; what torch makes it of is none of the call's requests."""
    found = []

    def call():
        made = torch.tensor(data, pin_memory=True, **options)
        found.append((made.tolist(), made.shape, made.dtype, made.is_pinned() or not made.numel()))

    trace = shadow(call)
    expected = torch.tensor(data, **options)
    assert [(expected.tolist(), expected.shape, expected.dtype, True)] == found
    assert ([], [], pinned) == (short(trace), short(trace.host), short(trace.pinned))


@pytest.mark.parametrize("requires_grad", [True, False])
def test_it_may_need_a_gradient(shadow, requires_grad):
    found = []

    def call():
        made = torch.tensor([1.0], pin_memory=True, requires_grad=requires_grad)
        found.append((made.requires_grad, made.is_leaf))

    shadow(call)
    assert [(requires_grad, True)] == found


@pytest.mark.parametrize("device", ["cuda", 0, torch.device("cuda", 0)])
def test_a_literal_of_a_device_cannot_be_pinned(shadow, device):
    """As torch says; one of the host's by name can."""

    def call():
        assert torch.tensor([1.0], device="cpu", pin_memory=True).is_pinned()
        with pytest.raises(RuntimeError, match=r"^Only dense CPU tensors can be pinned$"):
            torch.tensor([1.0], device=device, pin_memory=True)

    shadow(call)
