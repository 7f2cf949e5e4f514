"""A watch reads before, meanwhile and after, and no meter ends the run."""

from __future__ import annotations

import os
import sys
import threading
from types import SimpleNamespace

import pytest

from oom_suite.records.measurement import Reading, Tenant
from oom_suite.targets.meters import MeterError, Watch

GIB = 1 << 30
STRANGER = Tenant(2**22 + 1, GIB, "other")


class Planted:
    """A meter whose figures the test sets, and which fails where the test says so."""

    name = "planted"
    is_sampled = False
    steady = frozenset({"device total"})

    def __init__(self, used=0, fails=()):
        self.used, self.fails, self.closed = used, fails, False
        self.listed = None

    def _may_fail(self, what):
        if what in self.fails:
            msg = f"{what} failed"
            raise RuntimeError(msg)

    def begin(self):
        self._may_fail("begin")

    def read(self):
        self._may_fail("read")
        return (
            Reading(self.name, "device total", 64 * GIB),
            Reading(self.name, "device used", self.used),
        )

    def peaks(self):
        self._may_fail("peaks")
        return (Reading(self.name, "counted, peak", 7),)

    def holders(self):
        self._may_fail("holders")
        return self.listed

    def close(self):
        self._may_fail("close")
        self.closed = True


def said(watch):
    return {(r.meter, r.quantity): r.why_not or r.num_bytes for r in watch.readings}


def watching(*meters, kind="cpu"):
    return Watch(kind, 0, meters={one.name: lambda one=one: one for one in meters})


def test_what_changes_is_read_before_and_after_and_what_does_not_once():
    """And what the system counted itself stands beside it."""
    meter = Planted(used=1)
    with watching(meter) as watch:
        meter.used = 5
    assert {
        ("planted", "device total"): 64 * GIB,
        ("planted", "device used, before"): 1,
        ("planted", "device used, after"): 5,
        ("planted", "counted, peak"): 7,
    } == said(watch)


class Sampled(Planted):
    is_sampled = True

    def __init__(self):
        super().__init__(used=1)
        self.was_read = threading.Event()

    def read(self):
        if self.used == 9:
            self.was_read.set()
        return super().read()


def test_a_peak_between_the_ends_is_sampled():
    """With the rounds and the blind spot said beside it."""
    meter = Sampled()
    with watching(meter) as watch:
        meter.used = 9
        assert meter.was_read.wait(30)
        meter.used = 2
    figures = said(watch)
    assert 9 == figures["planted", "device used, peak of the samples"]
    assert "a shorter peak can be missed" in figures["sampler", "between samples"]


@pytest.mark.parametrize("fails", ["begin", "read", "peaks"])
def test_a_meter_that_raised_is_closed_all_the_same(fails):
    """What it holds open is given back."""
    meter = Planted(fails=(fails,))
    with watching(meter):
        pass
    assert meter.closed


@pytest.mark.parametrize("fails", ["begin", "read", "peaks", "close"])
def test_a_meter_that_raises_is_named_and_the_run_goes_on(fails):
    """Whatever it raises, and whenever."""
    ran = []
    with watching(Planted(fails=(fails,))) as watch:
        ran.append(True)
    assert [True] == ran
    assert f"RuntimeError: {fails} failed" == said(watch)["planted", "all"]


def test_a_meter_that_cannot_be_opened_is_named():
    """Its own words are the reason."""

    def absent():
        msg = "no such driver"
        raise MeterError(msg)

    with Watch("cpu", meters={"absent": absent}) as watch:
        pass
    assert {("absent", "all"): "no such driver"} == said(watch)


def test_a_sampled_meter_that_fails_midway_is_named():
    """The others stay."""
    broken, sound = Sampled(), Planted()
    broken.name = "broken"
    with watching(broken, sound) as watch:
        broken.fails, broken.used = ("read",), 9
        assert broken.was_read.wait(30)
    figures = said(watch)
    assert "it failed midway: RuntimeError: read failed" == figures["broken", "all"]
    assert broken.closed
    assert 0 == figures["planted", "device used, after"]


def test_the_run_that_raises_is_measured_all_the_same():
    """Its error goes on, the thread is joined, and the meters are closed."""
    meter = Sampled()
    watch = watching(meter)
    with pytest.raises(ValueError, match="from the call"), watch:
        raise ValueError("from the call")
    assert 1 == said(watch)["planted", "device used, after"]
    assert meter.closed
    assert "oom-suite-meters" not in {one.name for one in threading.enumerate()}


def test_a_stranger_on_the_device_is_a_tenant():
    """Before or after is enough; we are none."""
    meter = Planted()
    meter.listed = (Tenant(os.getpid(), GIB), STRANGER)
    with watching(meter) as watch:
        meter.listed = (Tenant(os.getpid(), GIB),)
    assert (STRANGER,) == watch.tenants


def test_a_tenant_is_given_once():
    """Though it was seen twice."""
    meter = Planted()
    meter.listed = (STRANGER,)
    with watching(meter) as watch:
        pass
    assert (STRANGER,) == watch.tenants


def test_a_list_that_cannot_be_had_is_named_and_its_meter_stays():
    """The figures are worth keeping."""
    with watching(Planted(fails=("holders",))) as watch:
        pass
    figures = said(watch)
    assert "holders failed" == figures["planted", "other processes"]
    assert 64 * GIB == figures["planted", "device total"]


def torch_that_holds(num_bytes):
    """torch as far as a watch asks it: a GPU in use, of whose properties nothing is known."""
    return SimpleNamespace(
        version=SimpleNamespace(hip=None),
        cuda=SimpleNamespace(
            is_initialized=lambda: True,
            get_device_properties=lambda index: SimpleNamespace(),
            memory_reserved=lambda index: num_bytes,
        ),
    )


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        (0, "it says 0 B where this process's allocator alone holds 1.00 GiB"),
        (GIB // 2, "it says 512.00 MiB where this process's allocator alone holds 1.00 GiB"),
    ],
)
def test_less_than_we_hold_ourselves_is_nonsense(monkeypatch, used, expected):
    """A zero where something is surely in use is left out, before and after."""
    monkeypatch.setitem(sys.modules, "torch", torch_that_holds(GIB))
    with watching(Planted(used=used), kind="cuda") as watch:
        pass
    assert expected == said(watch)["planted", "device used"]


def test_exactly_what_we_hold_is_believed(monkeypatch):
    """The healthy twin."""
    monkeypatch.setitem(sys.modules, "torch", torch_that_holds(GIB))
    with watching(Planted(used=GIB), kind="cuda") as watch:
        pass
    assert GIB == said(watch)["planted", "device used, after"]


def test_on_a_cpu_the_system_says_what_was_resident():
    """A block of host memory shows in the kernel's own peak, and is gone after."""
    num_bytes = 64 << 20
    with Watch("cpu") as watch:
        block = bytearray(num_bytes)
        del block
    figures = said(watch)
    before = figures["psutil", "resident, before"]
    assert figures["psutil", "resident, peak"] >= before + num_bytes // 2
    assert {"psutil", "cgroup"} <= {one.meter for one in watch.readings}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cpu", {"psutil", "cgroup"}),
        ("cuda", {"psutil", "cgroup", "mem_get_info", "nvml"}),
        ("hip", {"psutil", "cgroup", "mem_get_info", "amdsmi", "drm"}),
    ],
)
def test_every_meter_that_fits_the_device_says_something(kind, expected):
    """A figure, or why there is none."""
    with Watch(kind, 0) as watch:
        pass
    assert expected == {one.meter for one in watch.readings} - {"sampler"}
    assert all((one.num_bytes is None) == bool(one.why_not) for one in watch.readings)
