"""The meters on a real GPU: they see what is allocated, and who else is there."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from oom_suite.targets.meters import Watch

pytestmark = pytest.mark.oom_device

GIB = 1 << 30
LIMIT_S = 120.0
HOLDER = """
import sys, torch
block = torch.zeros(1 << 30, dtype=torch.uint8, device=sys.argv[1])
torch.cuda.synchronize()
print("holding", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def torch_on(oom_device):
    """torch, with the device's context made and its cache empty: what follows is the test's."""
    import torch

    torch.zeros(1, device=oom_device)
    torch.cuda.synchronize(oom_device)
    torch.cuda.empty_cache()
    yield torch
    torch.cuda.empty_cache()


def watching(device):
    return Watch("cuda", device.index)


def quantities(watch):
    """What each meter speaks of, with or without a figure, however often it was read."""
    return {(one.meter, one.quantity.split(",")[0]) for one in watch.readings}


def figures(watch):
    return {
        (one.meter, one.quantity): one.num_bytes
        for one in watch.readings
        if one.num_bytes is not None
    }


def test_every_meter_of_the_vendor_has_a_figure_or_says_why_not(torch_on, oom_device):
    """No empty reading, and at least one meter that sees the device."""
    with watching(oom_device) as watch:
        pass
    assert all((one.num_bytes is None) == bool(one.why_not) for one in watch.readings)
    assert [key for key in figures(watch) if key[1] == "device total"], watch.readings


def test_a_block_that_stays_is_in_every_meters_figure_of_the_device(torch_on, oom_device):
    """One GiB more after than before, wherever the device's use is read."""
    with watching(oom_device) as watch:
        block = torch_on.zeros(GIB, dtype=torch_on.uint8, device=oom_device)
        torch_on.cuda.synchronize(oom_device)
    said = figures(watch)
    del block
    meters = [meter for meter, quantity in said if quantity == "device used, after"]
    assert meters, watch.readings
    for meter in meters:
        grown = said[meter, "device used, after"] - said[meter, "device used, before"]
        assert grown >= GIB, meter


def test_a_block_that_comes_and_goes_is_sampled(torch_on, oom_device):
    """It is gone at the end, and in the peak of the samples."""
    with watching(oom_device) as watch:
        before_rounds = len(watch._sampler._looked_s)
        block = torch_on.zeros(GIB, dtype=torch_on.uint8, device=oom_device)
        torch_on.cuda.synchronize(oom_device)
        deadline_s = time.monotonic() + LIMIT_S
        # Two rounds later one of them began after the block was there.
        while len(watch._sampler._looked_s) < before_rounds + 3 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        del block
        torch_on.cuda.empty_cache()
    said = figures(watch)
    sampled = [meter for meter, q in said if q == "device used, peak of the samples"]
    if not sampled:
        pytest.skip(f"no meter of the device can be sampled here: {watch.readings}")
    for meter in sampled:
        after = said[meter, "device used, after"]
        assert said[meter, "device used, peak of the samples"] >= after + GIB, meter


def test_a_stranger_on_the_device_is_named(torch_on, oom_device):
    """Its pid; or, where the driver hides or renumbers processes, that reason."""
    block = torch_on.zeros(GIB, dtype=torch_on.uint8, device=oom_device)
    # A child of a child that has ended belongs to nobody here.
    code = (
        "import subprocess, sys; "
        "p = subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[2]]); "
        "print(p.pid, flush=True)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, HOLDER, str(oom_device)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        pid = int(parent.stdout.readline())
        parent.wait(LIMIT_S)
        assert "holding\n" == parent.stdout.readline()
        with watching(oom_device) as watch:
            pass
    finally:
        parent.stdin.close()
        parent.stdout.close()
    del block
    if not any(quantity == "this process" for meter, quantity in quantities(watch)):
        pytest.skip(f"no driver that lists processes can be asked here: {watch.readings}")
    reasons = [one.why_not for one in watch.readings if one.quantity == "other processes"]
    assert pid in {one.pid for one in watch.tenants} or reasons


def test_we_ourselves_are_no_stranger(torch_on, oom_device):
    """The healthy twin: with as much on the device, by our own pid."""
    block = torch_on.zeros(GIB, dtype=torch_on.uint8, device=oom_device)
    with watching(oom_device) as watch:
        pass
    del block
    assert os.getpid() not in {one.pid for one in watch.tenants}


def test_the_doctor_finds_the_device(oom_device):
    """Name, architecture and free bytes, and nothing broken."""
    done = subprocess.run(
        [sys.executable, "-m", "oom_suite", "doctor"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    line = next((x for x in done.stdout.splitlines() if x.startswith("  measure on cuda:0")), "")
    assert "yes" == line[20:28].strip(), done.stdout
    assert (0, "") == (done.returncode, done.stderr)
