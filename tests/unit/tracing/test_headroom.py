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
from oom_suite.tracing.measure import ballast as others_on_device
from oom_suite.tracing.measure import headroom as memory_fraction
from oom_suite.tracing.measure.ballast import GRANULE_BYTES, fill
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


class Driver:
    """A GPU's memory, handed out in granules; each grant costs `overhead_bytes` besides."""

    def __init__(self, total_bytes, overhead_bytes=0, refuses=0):
        self.left_bytes = total_bytes
        self.overhead_bytes = overhead_bytes
        self.num_refusals = refuses
        self.grants = {}

    def free_bytes(self):
        return self.left_bytes

    def take(self, num_bytes):
        assert num_bytes % GRANULE_BYTES == 0
        if self.num_refusals or num_bytes + self.overhead_bytes > self.left_bytes:
            self.num_refusals = max(0, self.num_refusals - 1)
            return None
        address = len(self.grants) + 1
        self.grants[address] = num_bytes + self.overhead_bytes
        self.left_bytes -= num_bytes + self.overhead_bytes
        return address

    def give_back(self, address):
        self.left_bytes += self.grants.pop(address)


@pytest.mark.parametrize("free_bytes", [0, 1, GRANULE_BYTES, 12 * GIB + 777, 139 * GIB])
@pytest.mark.parametrize("overhead_bytes", [0, 64 * 1024, GRANULE_BYTES, 3 * GRANULE_BYTES])
@pytest.mark.parametrize("refuses", [0, 3])
def test_ballast_leaves_what_was_asked_and_no_granule_more(free_bytes, overhead_bytes, refuses):
    """Never less than the call's due, whatever the driver takes for itself."""
    driver, taken = Driver(140 * GIB, overhead_bytes, refuses), []
    left_bytes = fill(driver, free_bytes, taken)
    assert left_bytes == driver.free_bytes() == 140 * GIB - sum(driver.grants.values())
    assert list(driver.grants) == taken
    # What is spared for the driver's own and for what it refuses comes on top.
    slack_bytes = GRANULE_BYTES + overhead_bytes + refuses * GRANULE_BYTES
    assert free_bytes <= left_bytes < free_bytes + slack_bytes


def test_ballast_without_overhead_is_exact_to_a_granule():
    """The healthy driver: less than 2 MiB more than was asked for."""
    driver = Driver(140 * GIB - 333)
    assert 0 <= fill(driver, 13_679_470_837, []) - 13_679_470_837 < GRANULE_BYTES


def test_all_that_is_free_can_be_asked_for_and_a_byte_more_cannot():
    """The boundary: then nothing is taken; beyond it one line says so."""
    taken = []
    assert fill(Driver(GIB), GIB, taken) == GIB
    assert taken == []
    with pytest.raises(LaneError, match=r"asked for, and the device has 1\.00 GiB free"):
        fill(Driver(GIB), GIB + 1, taken)


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of 140 GiB with nobody on it, its driver simulated; gives the driver."""
    driver = Driver(140 * GIB)
    monkeypatch.setattr(ballast, "Runtime", lambda device: driver)
    monkeypatch.setattr(ballast, "others", lambda device: "")
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    for name in ("synchronize", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda *args: None)
    return driver


@pytest.mark.parametrize(
    "ask",
    [
        lambda: memory_fraction.limited(GPU, GIB).__enter__(),
        lambda: others_on_device.others(GPU),
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


@pytest.mark.parametrize("error", [SystemExit, torch.OutOfMemoryError, KeyboardInterrupt])
def test_ballast_goes_back_however_the_call_ends(gpu, error):
    """The next subject finds the device as this one did."""
    with contextlib.suppress(error), headroom(GPU, GIB, "ballast") as left:
        assert (GIB, "ballast") == (left.free_bytes, left.by)
        assert gpu.free_bytes() == GIB
        raise error
    assert ({}, 140 * GIB) == (gpu.grants, gpu.free_bytes())


def test_ballast_that_is_interrupted_while_it_is_taken_goes_back(gpu, monkeypatch):
    """An interrupt between two grants loses neither."""
    monkeypatch.setattr(gpu, "free_bytes", interrupted_after(2, gpu.free_bytes))
    with pytest.raises(KeyboardInterrupt):
        headroom(GPU, GIB, "ballast").__enter__()
    assert gpu.grants == {}


def interrupted_after(num_calls, function):
    def counted():
        nonlocal num_calls
        num_calls -= 1
        if num_calls == 0:
            raise KeyboardInterrupt
        return function()

    return counted


def test_ballast_beside_another_process_is_refused(gpu, monkeypatch):
    """It would take that process's memory away: one line, with the way that does not."""
    monkeypatch.setattr(ballast, "others", lambda device: "process 4711")
    with pytest.raises(LaneError, match=r"memory away from process 4711: .*--by limit"):
        headroom(GPU, GIB, "ballast").__enter__()
    assert gpu.grants == {}


def list_of(*pids):
    return "\n".join(
        ["GPU:0", *(f"process {pid:>10d} uses     500.000 MB GPU memory" for pid in pids)]
    )


@pytest.mark.parametrize(
    ("pids", "used_bytes", "expected"),
    [
        ((1000, 900, 4711), 0, "process 4711"),
        ((1000, 900), 100 * GIB, ""),
        ((77,), 3 * GIB, ""),
        ((77,), 3 * GIB + MIB, "whoever holds 3.00 GiB there"),
        ((), 30 * GIB, "whoever holds 30.00 GiB there"),
    ],
    ids=["another", "family", "foreign numbers", "foreign numbers and memory", "no list"],
)
def test_another_process_is_known_by_its_number_or_its_memory(
    monkeypatch, pids, used_bytes, expected
):
    """The list is believed where this process is in it; what started it is no other."""
    monkeypatch.setattr(others_on_device.os, "getpid", lambda: 1000)
    parent = type("Parent", (), {"pid": 900})
    process = type("Process", (), {"parents": lambda self: [parent]})
    monkeypatch.setattr(others_on_device.psutil, "Process", process)
    monkeypatch.setattr(torch.cuda, "list_gpu_processes", lambda device: list_of(*pids))
    free = (140 * GIB - used_bytes - GIB, 140 * GIB)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: free)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: GIB)
    assert expected == others_on_device.others(GPU)


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


def test_a_library_that_is_not_loaded_is_one_line(tmp_path):
    """The first loaded file of that name is taken, with its path whole."""
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00-7f01 r-xp 00000000 00:00 0\n"
        "7f02-7f03 r-xp 00000000 fe:01 9    /opt/a b/libcudart.so.13\n"
    )
    assert str(ballast._loaded("libcudart", maps)) == "/opt/a b/libcudart.so.13"
    with pytest.raises(LaneError, match=r"libamdhip64 is not loaded.*--by limit"):
        ballast._loaded("libamdhip64", maps)


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


@pytest.mark.parametrize(("num_refusals", "is_filled"), [(15, True), (16, False)])
def test_the_driver_is_asked_sixteen_times(num_refusals, is_filled):
    """Each refusal spares a granule more."""
    driver = Driver(140 * GIB, refuses=num_refusals)
    left_bytes = fill(driver, GIB, [])
    assert (GIB + num_refusals * GRANULE_BYTES if is_filled else 140 * GIB) == left_bytes


def test_ballast_is_taken_once_where_the_driver_has_it():
    """Down to a granule, and none where less than that is to be taken."""
    driver, taken = Driver(GIB + GRANULE_BYTES), []
    assert (GIB, 1) == (fill(driver, GIB, taken), len(taken))
    driver, taken = Driver(GIB + GRANULE_BYTES - 1), []
    assert (GIB + GRANULE_BYTES - 1, []) == (fill(driver, GIB, taken), taken)
