"""Device memory taken from the runtime library itself, and given back to it."""

from __future__ import annotations

import pytest
import torch

from oom_suite.tracing.measure import ballast
from oom_suite.units import MIB

GPU = torch.device("cuda")


class Library:
    """Stands for the runtime library: takes up to 8 MiB, and frees address 64 alone."""

    def __init__(self, prefix):
        self.called = []

        def malloc(pointer, num_bytes):
            self.called.append(f"malloc {num_bytes}")
            pointer._obj.value = 64 if num_bytes <= 8 * MIB else None
            return 0 if num_bytes <= 9 * MIB else 2

        def free(pointer):
            self.called.append(f"free {pointer.value}")
            return 0 if pointer.value == 64 else 1

        setattr(self, f"{prefix}Malloc", malloc)
        setattr(self, f"{prefix}Free", free)
        setattr(self, f"{prefix}GetLastError", lambda: self.called.append("last error"))


@pytest.fixture(params=["cuda", "hip"])
def library(request, monkeypatch):
    """The library that torch's build has loaded, and a runtime on it."""
    made, asked = Library(request.param), []
    monkeypatch.setattr(torch.version, "hip", "7.0" if request.param == "hip" else None)
    monkeypatch.setattr(ballast, "_loaded", lambda stem: asked.append(stem) or stem)
    monkeypatch.setattr(ballast.ctypes, "CDLL", lambda path: made)
    made.runtime = ballast.Runtime(GPU)
    assert [{"cuda": "libcudart", "hip": "libamdhip64"}[request.param]] == asked
    return made


def test_memory_is_taken_and_given_back_by_the_runtime(library):
    assert 64 == library.runtime.take(8 * MIB)
    library.runtime.give_back(64)
    assert [f"malloc {8 * MIB}", "free 64"] == library.called


@pytest.mark.parametrize("num_mib", [9, 10], ids=["no address", "an error"])
def test_what_cannot_be_taken_is_none_and_leaves_no_error_behind(library, num_mib):
    """The next kernel would report it."""
    assert library.runtime.take(num_mib * MIB) is None
    assert [f"malloc {num_mib * MIB}", "last error"] == library.called


def test_what_cannot_be_given_back_leaves_no_error_behind(library):
    library.runtime.give_back(65)
    assert ["free 65", "last error"] == library.called


def test_what_is_free_is_what_the_driver_says_of_the_device(library, monkeypatch):
    """Of free and total the first."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", {GPU: (5, 9)}.__getitem__)
    assert 5 == library.runtime.free_bytes()


def test_an_error_with_an_address_is_no_memory(library):
    """Whatever the library left there."""

    def fails(pointer, num_bytes):
        pointer._obj.value = 64
        return 2

    library.runtime._malloc = fails
    assert library.runtime.take(8 * MIB) is None
    assert ["last error"] == library.called
