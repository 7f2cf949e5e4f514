"""Ballast takes a device's memory but for a headroom, gives it back, and takes from nobody."""

from __future__ import annotations

import contextlib

import pytest
import torch

from oom_suite.errors import LaneError
from oom_suite.tracing.measure import ballast
from oom_suite.tracing.measure.ballast import GRANULE_BYTES, fill
from oom_suite.tracing.measure.headroom import headroom
from oom_suite.units import GIB, MIB

GPU = torch.device("cuda")


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
    monkeypatch.setattr(ballast.os, "getpid", lambda: 1000)
    parent = type("Parent", (), {"pid": 900})
    process = type("Process", (), {"parents": lambda self: [parent]})
    monkeypatch.setattr(ballast.psutil, "Process", process)
    monkeypatch.setattr(torch.cuda, "list_gpu_processes", lambda device: list_of(*pids))
    free = (140 * GIB - used_bytes - GIB, 140 * GIB)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: free)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: GIB)
    assert expected == ballast.others(GPU)


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
