"""Exactly so much is left free, and given back, by each way there is."""

from __future__ import annotations

import contextlib
import mmap
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from oom_suite.errors import LaneError, UsageError
from oom_suite.targets.free_memory import free_memory
from oom_suite.tracing.measure import ballast
from oom_suite.tracing.measure import headroom as memory_fraction
from oom_suite.tracing.measure.headroom import headroom
from oom_suite.units import GIB, MIB, format_bytes

CPU = torch.device("cpu")
GPU = torch.device("cuda")
PAGE_BYTES = mmap.PAGESIZE

BOUNDARY = """
import sys, torch
from oom_suite.tracing.measure.headroom import headroom
num_bytes, free_bytes = int(sys.argv[1]), int(sys.argv[2])
with headroom(torch.device("cpu"), free_bytes, "limit"):
    torch.empty(num_bytes, dtype=torch.uint8)
"""


def allocates(num_bytes, free_bytes):
    """Whether a fresh process can allocate so much in that headroom, or its last words."""
    done = subprocess.run(
        [sys.executable, "-c", BOUNDARY, str(num_bytes), str(free_bytes)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0 or done.stderr.strip().splitlines()[-1]


def test_what_a_request_needs_is_enough_and_one_page_less_is_not():
    """A request takes its pages, and one for the C library's own note and the alignment.

    Above that the C library may grow its own heap inside the limit, by 33 pages at a time (its
    top pad of 128 KiB and what was asked for): in some processes, not in all.
    """
    need_bytes = 64 * MIB + PAGE_BYTES
    assert allocates(64 * MIB, need_bytes + 34 * PAGE_BYTES) is True
    refused = allocates(64 * MIB, need_bytes - PAGE_BYTES)
    assert "you tried to allocate 67108864 bytes" in str(refused)


@pytest.fixture
def limits():
    """The address-space limits, which must be the same afterwards."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    yield before
    assert before == resource.getrlimit(resource.RLIMIT_AS)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_the_limit_is_as_before_however_it_ends(limits, error):
    """Only the soft limit moves, for the hard one could not be raised again."""
    with contextlib.suppress(error), headroom(CPU, GIB, "ballast") as left:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        assert limits != (soft, hard)
        assert limits[1] == hard
        assert (GIB, "limit") == (left.free_bytes, left.by)
        raise error


def test_no_headroom_changes_nothing(limits):
    """None stands for all there is."""
    with headroom(CPU, None, "ballast") as left:
        assert limits == resource.getrlimit(resource.RLIMIT_AS)
    assert (None, "") == (left.free_bytes, left.by)


def test_more_than_the_process_may_add_is_refused(limits):
    """A headroom that the process's own limit forbids would be a smaller one in truth."""
    with headroom(CPU, GIB, "limit"):
        with pytest.raises(LaneError, match=r"headroom of 2\.00 GiB is more than .*ulimit"):
            headroom(CPU, 2 * GIB, "limit").__enter__()
        with headroom(CPU, GIB // 2, "limit"):
            pass


def test_an_unknown_way_is_one_line():
    """With the ways there are."""
    with pytest.raises(UsageError, match=r"unknown way to leave a headroom 'balast'.*'ballast'"):
        headroom(CPU, GIB, "balast").__enter__()


@pytest.mark.parametrize(
    "ask",
    [
        lambda: memory_fraction.limited(GPU, GIB).__enter__(),
        lambda: ballast.others(GPU),
        lambda: free_memory(GPU),
    ],
    ids=["limit", "ballast", "budget"],
)
@pytest.mark.usefixtures("fractions")
def test_a_driver_that_does_not_say_what_is_free_is_one_line(monkeypatch, ask):
    """HIP's raises "invalid argument" for some devices; only the first line is of use."""

    def refuses(_device):
        raise RuntimeError("HIP error: invalid argument\nCompile with ...")

    monkeypatch.setattr(torch.cuda, "mem_get_info", refuses)
    monkeypatch.setattr(torch.cuda, "list_gpu_processes", lambda device: "")
    said = "does not say what is free (mem_get_info: HIP error: invalid argument)"
    with pytest.raises(LaneError) as caught:
        ask()
    assert f"the driver of {GPU} {said}" == str(caught.value)


def test_a_fraction_is_the_limit_to_the_byte():
    """The allocator multiplies and truncates: the fraction must not lose a byte by that."""
    total_bytes = 150_754_820_096
    for limit_bytes in (1, 13_679_470_837, 30_262_455_605, total_bytes - 1, total_bytes):
        fraction = memory_fraction.fraction_of(limit_bytes, total_bytes)
        assert limit_bytes == int(fraction * total_bytes)


@pytest.fixture
def fractions(monkeypatch):
    """The fractions that were set on a GPU with 1 GiB reserved and 100 of 140 GiB free."""
    fractions = [0.75]
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100 * GIB, 140 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: GIB)
    monkeypatch.setattr(
        torch.cuda, "get_per_process_memory_fraction", lambda device: 0.75, raising=False
    )
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda f, device: fractions.append(f)
    )
    return fractions


@pytest.mark.parametrize("error", [SystemExit, torch.OutOfMemoryError, KeyboardInterrupt])
def test_a_limit_counts_from_what_is_reserved_and_is_undone(fractions, error):
    """What the inputs hold is not the call's."""
    with contextlib.suppress(error), headroom(GPU, 13 * GIB, "limit"):
        assert 14 * GIB == int(fractions[-1] * 140 * GIB)
        raise error
    assert fractions[-1] == 0.75


def test_a_limit_beyond_what_is_free_is_refused(fractions):
    """All that is free may be asked for; a byte more would be promised and not there."""
    with headroom(GPU, 100 * GIB, "limit"):
        pass
    with pytest.raises(LaneError, match=r"cuda has 100\.00 GiB free"):
        headroom(GPU, 100 * GIB + 1, "limit").__enter__()


def test_a_process_that_is_over_its_limit_may_add_nothing(monkeypatch):
    """It says so in no negative number."""
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (GIB, resource.RLIM_INFINITY))
    monkeypatch.setattr(memory_fraction, "address_space_bytes", lambda: 2 * GIB)
    with pytest.raises(LaneError, match=r"may still add \(0 B, by its"), headroom(CPU, 1, "limit"):
        pass


@pytest.mark.parametrize(
    ("soft_bytes", "hard_bytes", "may_add_bytes"),
    [
        (3 * GIB, 5 * GIB, GIB),
        (5 * GIB, 3 * GIB, GIB),
        (resource.RLIM_INFINITY, 3 * GIB, GIB),
        (3 * GIB, resource.RLIM_INFINITY, GIB),
        (2 * GIB, resource.RLIM_INFINITY, 0),
    ],
)
def test_the_lower_of_the_processs_limits_is_what_may_be_added(
    monkeypatch, soft_bytes, hard_bytes, may_add_bytes
):
    """To the byte; then the soft limit is set to it, and put back."""
    seen = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft_bytes, hard_bytes))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, both: seen.append(both))
    monkeypatch.setattr(memory_fraction, "address_space_bytes", lambda: 2 * GIB)
    with headroom(CPU, may_add_bytes, "limit"):
        pass
    assert [(2 * GIB + may_add_bytes, hard_bytes), (soft_bytes, hard_bytes)] == seen
    with pytest.raises(LaneError) as error, headroom(CPU, may_add_bytes + 1, "limit"):
        pass
    assert f"({format_bytes(may_add_bytes)}, by its address-space limit)" in str(error.value)
    assert 2 == len(seen)


def test_a_process_without_a_limit_may_add_anything(monkeypatch):
    seen = []
    none = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: none)
    monkeypatch.setattr(resource, "setrlimit", lambda kind, both: seen.append(both))
    monkeypatch.setattr(memory_fraction, "address_space_bytes", lambda: 1)
    with headroom(CPU, 1 << 60, "limit"):
        pass
    assert [((1 << 60) + 1, resource.RLIM_INFINITY), none] == seen


def test_another_system_has_no_such_limit(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(LaneError, match="address-space limit, which darwin lacks"):
        headroom(CPU, GIB, "limit").__enter__()


def test_the_address_space_is_that_of_this_process():
    """As the system tells it in pages."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    found = memory_fraction.address_space_bytes()
    assert 0 == found % PAGE_BYTES
    assert abs(found - pages * PAGE_BYTES) < 64 * MIB


def test_a_torch_that_cannot_tell_its_fraction_is_left_with_all(fractions, monkeypatch):
    monkeypatch.delattr(torch.cuda, "get_per_process_memory_fraction")
    with headroom(GPU, 13 * GIB, "limit"):
        pass
    assert 1.0 == fractions[-1]


def test_a_limit_of_all_there_is_is_the_whole_and_never_more():
    assert 1.0 == memory_fraction.fraction_of(100, 100)
    assert 0.5 == memory_fraction.fraction_of(50, 100)
    assert 1.0 >= memory_fraction.fraction_of(2**53 - 1, 2**53 - 1)
