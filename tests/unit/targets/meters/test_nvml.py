"""pynvml's real bindings over a simulated driver: figures, devices, and every refusal."""

from __future__ import annotations

import pytest

GIB = 1 << 30
HEALTHY = {
    "0.bdf": "0000:19:00",
    "0.uuid": "GPU-aaaa-0",
    "0.total": 140 * GIB,
    "0.used": 10 * GIB,
    "0.reserved": GIB,
    "0.processes": 2,
    "0.0.pid": 4242,
    "0.0.used": 9 * GIB,
    "0.1.pid": 777,
    "0.1.used": GIB // 2,
}
TWO = {
    "devices": 2,
    "1.bdf": "0001:3b:00",
    "1.uuid": "GPU-bbbb-1",
    "1.total": 80 * GIB,
    "1.used": 3 * GIB,
}


@pytest.fixture
def nvidia(ask, driver):
    def nvidia(figures=None, device=None, **environ):
        return ask("nvml", driver("nvml"), HEALTHY | (figures or {}), device, **environ)

    return nvidia


def used(said):
    return said["figures"]["device used"]


def test_figures_are_bytes_as_the_driver_gave_them(nvidia):
    """The driver's reserve is told apart from what is used."""
    assert {
        "device total": 140 * GIB,
        "device used": 10 * GIB,
        "driver's reserve": GIB,
        "this process": 9 * GIB,
    } == nvidia()["figures"]


def test_an_old_driver_has_its_reserve_in_what_is_used(ask, driver):
    """Without version 2 of the memory information there is one figure for both."""
    said = ask("nvml", driver("nvml", "WITHOUT_MEMORY_V2"), HEALTHY)["figures"]
    assert 11 * GIB == said["device used"]
    assert "driver's reserve" not in said


def test_compute_and_graphics_processes_are_listed_once(nvidia):
    """A process in both lists holds its memory once."""
    said = nvidia({"0.processes": 3, "0.2.pid": 777, "0.2.used": GIB, "0.2.graphics": 1})
    assert [(777, GIB), (4242, 9 * GIB)] == [
        (one["pid"], one["num_bytes"]) for one in said["holders"]
    ]


def test_n_a_for_a_process_is_named(nvidia):
    """The driver's N/A is no zero."""
    said = nvidia({"0.0.used": 2**64 - 1})
    assert "the driver says N/A for a process" == said["figures"]["this process"]
    assert [None] == [one["num_bytes"] for one in said["holders"] if one["pid"] == 4242]


def test_a_process_that_is_not_listed_has_no_figure(nvidia):
    """In a container the driver lists the host's pids."""
    said = nvidia({"0.0.pid": 1})["figures"]["this process"]
    assert "the driver lists 2 processes and not pid 4242" in said


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ({"pci": "0001:3b:00"}, 3 * GIB),
        ({"uuid": "bbbb-1"}, 3 * GIB),
        ({"uuid": "aaaa-0"}, 10 * GIB),
    ],
    ids=["pci", "uuid", "other-uuid"],
)
def test_the_device_is_found_by_what_torch_says_of_it(nvidia, device, expected):
    """By PCI address, else by UUID; torch's index 0 need not be the driver's."""
    assert expected == used(nvidia(TWO, device))


@pytest.mark.parametrize(
    ("index", "environ", "expected"),
    [
        (1, {}, 3 * GIB),
        (0, {"CUDA_VISIBLE_DEVICES": "1"}, 3 * GIB),
        (0, {"CUDA_VISIBLE_DEVICES": "GPU-bbbb"}, 3 * GIB),
        (1, {"CUDA_VISIBLE_DEVICES": "1,0"}, 10 * GIB),
    ],
    ids=["all", "by-number", "by-uuid", "reordered"],
)
def test_without_either_the_visible_devices_decide(nvidia, index, environ, expected):
    """Where CUDA is told to number by PCI address, as NVML does."""
    said = nvidia(TWO, {"index": index}, CUDA_DEVICE_ORDER="PCI_BUS_ID", **environ)
    assert expected == used(said)


def test_cudas_own_order_is_not_guessed(nvidia):
    """CUDA numbers the fastest first, NVML does not."""
    assert "torch does not say which is its device 0" in nvidia(TWO)["error"]


def test_the_only_device_needs_no_order(nvidia):
    """The healthy twin: one device is the device."""
    assert 10 * GIB == used(nvidia())


def test_a_gpu_split_by_mig_is_refused(nvidia):
    """The whole GPU's figures are not a slice's."""
    assert "the GPU is split by MIG" in nvidia({"0.mig": 1})["error"]


def test_mig_that_is_off_is_no_reason(nvidia):
    """The healthy twin."""
    assert 10 * GIB == used(nvidia({"0.mig": 0}))


def test_a_mig_device_that_is_named_is_read(nvidia):
    """CUDA_VISIBLE_DEVICES names the slice, and the driver finds it by that name."""
    figures = {"0.mig": 1, "1.uuid": "MIG-cccc", "1.total": 20 * GIB, "1.used": GIB}
    assert GIB == used(nvidia(figures, CUDA_VISIBLE_DEVICES="MIG-cccc"))


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ({"0.total": 0}, "it says that the device has 0 B in all"),
        ({"0.used": 140 * GIB + 1}, "it says 140.00 GiB of a total of 140.00 GiB"),
        ({"0.used": 281 * GIB}, "its units are not the documented ones"),
    ],
    ids=["no-total", "more-than-total", "units"],
)
def test_nonsense_is_named_and_left_out(nvidia, figures, expected):
    """A figure that cannot be true is a reason, and no other figure of the device stays."""
    (reason,) = nvidia(figures)["figures"].values()
    assert expected in reason


@pytest.mark.parametrize(
    ("function", "status", "expected"),
    [
        ("nvmlInitWithFlags", 9, "Driver Not Loaded"),
        ("nvmlDeviceGetCount_v2", 4, "Insufficient Permissions"),
        ("nvmlDeviceGetHandleByIndex_v2", 15, "GPU is lost"),
        ("nvmlInitWithFlags", 18, "RM has detected an NVML/RM version mismatch."),
    ],
)
def test_an_error_of_the_driver_is_the_reason(nvidia, function, status, expected):
    """Each status keeps its name; nothing is raised."""
    assert {"error": f"NVML says: {expected}"} == nvidia({f"error.{function}": status})


def test_a_gpu_lost_after_it_was_found_is_the_reason(nvidia):
    """Both versions of the memory information fail."""
    lost = {"error.nvmlDeviceGetMemoryInfo": 15, "error.nvmlDeviceGetMemoryInfo_v2": 15}
    assert "NVML says: GPU is lost" == nvidia(lost)["error"]


def test_a_driver_that_lists_no_processes_keeps_its_figures(nvidia):
    """Only the process's own figure is left out."""
    said = nvidia({"error.nvmlDeviceGetComputeRunningProcesses_v3": 4})
    reason = "NVML says: Insufficient Permissions"
    assert [10 * GIB, reason] == [used(said), said["figures"]["this process"]]


def test_the_missing_library_is_the_reason(ask, driver, tmp_path):
    """A file that is no library stands in the way of a real one."""
    driver("nvml")
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")
    said = ask("nvml", tmp_path, HEALTHY)
    assert {"error": "NVML says: NVML Shared Library Not Found"} == said
