"""Which of a driver's devices is torch's."""

from __future__ import annotations

import pytest

from oom_suite.targets.meters.identity import Candidate, find, identify, pci_address
from oom_suite.targets.meters.protocol import Device, MeterError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0000:c1:00.0", "0000:c1:00"),
        ("00000000:C1:00.0", "0000:c1:00"),
        ("0001:3B:1f", "0001:3b:1f"),
        ("c1:00.0", "0000:c1:00"),
        ("", ""),
        ("N/A", ""),
        ("0000:c1", ""),
    ],
)
def test_an_address_is_written_in_one_way(text, expected):
    """amdsmi, NVML, sysfs and torch each write it differently."""
    assert expected == pci_address(text)


def test_nothing_is_imported_or_started_to_identify_a_cpu():
    """A CPU has no address."""
    assert Device("cpu", 0) == identify("cpu", None)


def test_torch_that_has_not_begun_with_the_gpu_says_no_address():
    """The meters do not begin for it: that would change what they measure."""
    assert Device("cuda", 3) == identify("cuda", 3)


CANDIDATES = (
    Candidate("0000:01:00", "GPU-aa11", 0),
    Candidate("0000:02:00", "GPU-aa22", 1),
    Candidate("0000:03:00", "GPU-bb33", 2),
)


@pytest.mark.parametrize(
    ("visible", "index", "expected"),
    [
        ("2,0", 0, 2),
        ("2,0", 1, 0),
        ("GPU-bb", 0, 2),
        ("bb33,0", 1, 0),
        (" 1 , 2 ", 1, 2),
    ],
)
def test_a_visible_list_is_read_as_the_driver_reads_it(visible, index, expected):
    """Numbers and the beginnings of UUIDs, in any order."""
    environ = {"CUDA_VISIBLE_DEVICES": visible}
    assert expected == find(Device("cuda", index), CANDIDATES, environ)


@pytest.mark.parametrize(
    ("visible", "index"),
    [("", 0), ("-1", 0), ("0,-1,1", 1), ("GPU-aa", 0), ("7,0", 0), ("0", 1)],
    ids=["none", "minus-one", "ended-early", "ambiguous", "unknown-ends-it", "hidden"],
)
def test_a_device_that_is_not_visible_is_refused(visible, index):
    """A list ends at the first name that fits no device, or several."""
    with pytest.raises(MeterError, match=r"is not among the \d visible ones"):
        find(Device("cuda", index), CANDIDATES, {"CUDA_VISIBLE_DEVICES": visible})


def test_the_address_outweighs_what_is_visible():
    """torch has applied the variables already."""
    device = Device("cuda", 0, pci="0000:03:00")
    assert 2 == find(device, CANDIDATES, {"CUDA_VISIBLE_DEVICES": "1"})
