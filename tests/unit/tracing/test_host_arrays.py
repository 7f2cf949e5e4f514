"""What NumPy is given of tensors that have no memory: values that are known, or a refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from oom_suite.errors import LaneError
from oom_suite.records.symbolic import Hints
from oom_suite.tracing.prove import ProveLane

NUMBERS = [3, 1, 3, 2]


def numbers(device):
    return (torch.tensor(NUMBERS, device=device),)


ARRAYS = {
    "of a copy": lambda x: x.cpu().numpy(),
    "by force": lambda x: x.numpy(force=True),
    "by NumPy": lambda x: np.asarray(x.cpu()),
    "by NumPy, in another type": lambda x: np.asarray(x.cpu(), dtype=np.float64),
    "by NumPy, of a literal": lambda x: np.asarray(torch.tensor(NUMBERS)),
}


@pytest.mark.parametrize("make", ARRAYS.values(), ids=ARRAYS)
def test_an_array_has_the_values_that_are_known(shadow, make):
    """In the type that was asked for."""
    found = []
    shadow(lambda x: found.append(make(x)), numbers)
    expected = make(torch.tensor(NUMBERS))
    assert (expected.tolist(), expected.dtype) == (found[0].tolist(), found[0].dtype)


def test_an_array_shares_the_memory_of_its_tensor(shadow):
    """What is written to the one is read from the other."""
    found = []

    def call(x):
        on_host = x.cpu()
        on_host.numpy()[1] = 9
        found.append(on_host.tolist())

    shadow(call, numbers)
    assert [[3, 9, 3, 2]] == found


REFUSED = {
    "on a device": (
        lambda x: x.numpy(),
        TypeError,
        "can't convert a tensor on cuda:0 to NumPy: use Tensor.cpu() first",
    ),
    "with a gradient": (
        lambda x: torch.ones(2, requires_grad=True).numpy(),
        RuntimeError,
        "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy()",
    ),
}


@pytest.mark.parametrize(("make", "kind", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_torch_refuses_is_refused_in_its_words(shadow, make, kind, expected):
    """Code may catch it, and take another way."""

    def call(x):
        with pytest.raises(kind) as caught:
            make(x)
        assert expected == str(caught.value)

    shadow(call, numbers)


def test_where_sizes_are_symbols_there_are_no_values():
    def build(sizes, device):
        x = torch.zeros(sizes["n"], dtype=torch.int64, device=device)
        return lambda: x.cpu().numpy()

    with pytest.raises(LaneError, match=r"reads values through NumPy at test_host_arrays\.py:\d+"):
        ProveLane(Path(__file__).parent).run(build, Hints({"n": 4}))
