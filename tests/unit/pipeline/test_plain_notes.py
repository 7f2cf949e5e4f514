"""Notes on code that torch cannot run on symbols say what the code does, not what torch says."""

from __future__ import annotations

import functools

import torch
from studied import studied

INSIDES = ("SymInt", "unhashable", "guard", "u0")


@functools.cache
def half(number):
    return number // 2


def looks_up(sizes, device):
    x = torch.zeros(sizes.n, 64, device=device)
    return lambda: x[: half(x.shape[0])] * 2


def resizes(sizes, device):
    x = torch.zeros(1, 1, sizes.n, 64, device=device)
    size = (sizes.n * 2, 64)
    return lambda: torch.nn.functional.interpolate(x, size=size, mode="bicubic")


def test_a_size_as_a_key_is_said_to_be_one():
    """And the message itself is kept for who wants it."""
    result = studied(looks_up, axes={"n": 64}, at_most="1KiB*n")
    assert "not proved: the code uses a size as a key" in result.notes[0]
    assert (
        f"{__file__}:{looks_up(Sizes(4), 'cpu').__code__.co_firstlineno} (<lambda>)"
        in result.notes[0]
    )
    assert not [note for note in result.notes if any(word in note for word in INSIDES)]
    assert ["unhashable type: non-nested SymInt"] == [
        detail.partition("TypeError: ")[2].partition(" at ")[0] for detail in result.details
    ]
    assert list(result.details) == result.to_json()["details"]


def test_an_operator_that_takes_plain_numbers_is_said_to():
    result = studied(resizes, axes={"n": 64}, at_most="1KiB*n")
    assert "not proved: the code calls an operator of torch at" in result.notes[0]
    assert not [note for note in result.notes if any(word in note for word in INSIDES)]
    assert "SymIntArrayRef" in result.details[0]


class Sizes:
    def __init__(self, n):
        self.n = n
