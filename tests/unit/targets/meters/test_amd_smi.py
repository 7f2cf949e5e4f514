"""amdsmi's real bindings over a simulated driver: figures, units, devices, and every refusal.

Nothing here ran on AMD hardware.
"""

from __future__ import annotations

import pytest

GIB = 1 << 30
HEALTHY = {
    "0.bdf": "0000:c1:00.0",
    "0.total": 256 * GIB,
    "0.total_mib": 256 * 1024,
    "0.used": 13 * GIB,
    "0.processes": 2,
    "0.0.pid": 4242,
    "0.0.vram": 12 * GIB,
    "0.0.mem": 99 * GIB,
    "0.1.pid": 777,
    "0.1.vram": GIB // 2,
}


@pytest.fixture
def amd(ask, driver):
    def amd(figures=None, device=None, **environ):
        return ask("amdsmi", driver("amdsmi"), HEALTHY | (figures or {}), device, **environ)

    return amd


def test_figures_are_bytes_as_the_driver_gave_them(amd):
    """Total and used of the device, VRAM of the process: not its host memory beside it."""
    assert {
        "device total": 256 * GIB,
        "device used": 13 * GIB,
        "this process": 12 * GIB,
    } == amd()["figures"]


def test_every_process_is_listed_with_its_vram(amd):
    """The other tenant has its pid, its bytes and the name that the driver read."""
    assert [
        {"pid": 4242, "num_bytes": 12 * GIB, "name": "simulated"},
        {"pid": 777, "num_bytes": GIB // 2, "name": "simulated"},
    ] == amd()["holders"]


def test_a_process_that_is_not_listed_has_no_figure(amd):
    """Pids of another namespace are not mistaken for ours."""
    said = amd({"0.0.pid": 1})["figures"]["this process"]
    assert "the driver lists 2 processes and not pid 4242" in said


TWO = {
    "devices": 2,
    "1.bdf": "0000:05:00.0",
    "1.total": 64 * GIB,
    "1.total_mib": 64 * 1024,
    "1.used": GIB,
}


def used(said):
    return said["figures"]["device used"]


def test_the_device_is_found_by_torchs_pci_address(amd):
    """Not by its place in the list."""
    assert GIB == used(amd(TWO, {"pci": "0000:05:00"}))


def test_an_address_that_no_device_has_is_refused(amd):
    """No other device is taken for it."""
    said = amd(TWO, {"pci": "0000:06:00"})
    assert {"error": "its driver lists no device with torch's PCI address 0000:06:00"} == said


def test_partitions_of_one_gpu_are_not_guessed_between(amd):
    """Two devices at one address: the function is not known, so neither is the device."""
    said = amd(TWO | {"1.bdf": "0000:c1:00.1"}, {"pci": "0000:c1:00"})
    assert "2 devices with PCI address 0000:c1:00 (a partitioned GPU)" in said["error"]


HIP_ORDER = TWO | {"0.hip_id": 1, "1.hip_id": 0}


@pytest.mark.parametrize(
    ("index", "environ", "expected"),
    [
        (0, {}, GIB),
        (1, {}, 13 * GIB),
        (0, {"HIP_VISIBLE_DEVICES": "1"}, 13 * GIB),
        (0, {"ROCR_VISIBLE_DEVICES": "1"}, 13 * GIB),
        (0, {"CUDA_VISIBLE_DEVICES": "1"}, 13 * GIB),
        (0, {"CUDA_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "0"}, GIB),
        (0, {"ROCR_VISIBLE_DEVICES": "1,0", "HIP_VISIBLE_DEVICES": "1"}, GIB),
    ],
    ids=["first", "second", "hip", "rocr", "cuda", "hip-before-cuda", "hip-indexes-into-rocr"],
)
def test_without_an_address_the_visible_devices_decide(amd, index, environ, expected):
    """HIP's own numbers and the three variables, each indexing into what the last left."""
    assert expected == used(amd(HIP_ORDER, {"index": index}, **environ))


def test_a_hidden_device_is_refused(amd):
    """An index beyond what is visible is no device."""
    said = amd(HIP_ORDER, {"index": 1}, HIP_VISIBLE_DEVICES="0")
    assert {"error": "torch's device 1 is not among the 1 visible ones"} == said


def test_several_devices_without_address_or_order_are_refused(amd):
    """An old library does not say HIP's numbers: nothing is guessed."""
    said = amd(TWO)
    assert "its driver lists 2 devices, and torch does not say which" in said["error"]


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ({"0.used": 256 * GIB + 1}, "it says 256.00 GiB of a total of 256.00 GiB"),
        ({"0.used": 13 * GIB * 1024}, "its units are not the documented ones"),
        ({"0.total": 0, "0.total_mib": 0}, "it says that the device has 0 B in all"),
        ({"0.total": 256 * 1024 * 1024}, "its two totals disagree (256.00 MiB and 256.00 GiB)"),
    ],
    ids=["more-than-total", "units-of-used", "no-total", "units-of-total"],
)
def test_nonsense_is_named_and_left_out(amd, figures, expected):
    """A figure that cannot be true is a reason, and no other figure of the device stays."""
    (reason,) = amd(figures)["figures"].values()
    assert expected in reason


def test_a_device_that_is_full_to_the_last_byte_is_believed(amd):
    """The healthy twin at the boundary: used may equal total."""
    assert 256 * GIB == used(amd({"0.used": 256 * GIB}))


def test_a_process_with_more_than_the_device_is_left_out(amd):
    """The device's own figures stay."""
    said = amd({"0.0.vram": 256 * GIB + 1})["figures"]
    assert "it says 256.00 GiB of a total of 256.00 GiB" == said["this process"]
    assert 13 * GIB == said["device used"]


@pytest.mark.parametrize(
    ("function", "status", "expected"),
    [
        ("amdsmi_init", 34, "AMDSMI_STATUS_DRIVER_NOT_LOADED - Driver not loaded"),
        ("amdsmi_get_socket_handles", 10, "AMDSMI_STATUS_NO_PERM - Permission Denied"),
        ("amdsmi_get_gpu_memory_usage", 2, "AMDSMI_STATUS_NOT_SUPPORTED - Feature not supported"),
        ("amdsmi_get_gpu_memory_total", 30, "AMDSMI_STATUS_BUSY - Device busy"),
    ],
)
def test_an_error_of_the_driver_is_the_reason(amd, function, status, expected):
    """Each status keeps its name; nothing is raised."""
    assert f"amdsmi says: {expected}" == amd({f"error.{function}": status})["error"]


def test_a_device_without_a_list_of_processes_keeps_its_figures(amd):
    """Only the process's own figure is left out."""
    said = amd({"error.amdsmi_get_gpu_process_list": 10})
    reason = "amdsmi says: AMDSMI_STATUS_NO_PERM - Permission Denied"
    assert [13 * GIB, reason] == [used(said), said["figures"]["this process"]]
    assert reason == said["holders"]


def test_a_missing_check_of_units_is_not_an_error(amd):
    """The second total serves only to doubt the first."""
    assert 13 * GIB == used(amd({"error.amdsmi_get_gpu_vram_usage": 2}))


def test_no_device_is_the_reason(amd):
    """A driver without a GPU."""
    assert {"error": "its driver lists no device"} == amd({"devices": 0})


def test_the_missing_library_is_the_reason(ask, driver):
    """The bindings print to the screen and die of a KeyError; the meter does neither."""
    driver("amdsmi")  # skips where there are no bindings
    said = ask("amdsmi", None, HEALTHY)
    assert {"error": "amdsmi finds no libamd_smi.so"} == said


def test_the_library_is_found_below_rocm_path(ask, driver, tmp_path):
    """The bindings look there first."""
    (tmp_path / "lib").symlink_to(driver("amdsmi"))
    said = ask("amdsmi", None, HEALTHY, ROCM_PATH=str(tmp_path))
    assert 13 * GIB == used(said)


def test_a_library_without_a_symbol_is_the_reason(ask, driver):
    """Bindings of a newer version than the library fail at import, naming the symbol."""
    folder = driver("amdsmi", "WITHOUT_PROCESS_LIST", without=("amdsmi_get_gpu_process_list",))
    said = ask("amdsmi", folder, HEALTHY)["error"]
    assert said.startswith("amdsmi and its libamd_smi.so are of different versions: ")
    assert "undefined symbol: amdsmi_get_gpu_process_list" in said


def test_a_library_with_another_layout_gives_no_process(ask, driver):
    """Version skew: what is read past a shorter structure is not taken for a process."""
    said = ask("amdsmi", driver("amdsmi", "OTHER_PROCESS_LAYOUT"), HEALTHY)
    assert "do not fit" in said["holders"]
    assert "do not fit" in said["figures"]["this process"]
    assert 13 * GIB == used(said)


def test_something_else_by_the_name_of_the_library_is_the_reason(ask, driver, tmp_path):
    """A file that is no library is as good as none."""
    driver("amdsmi")
    (tmp_path / "libamd_smi.so").write_bytes(b"not a library")
    said = ask("amdsmi", tmp_path, HEALTHY)
    assert said["error"].startswith("amdsmi finds no libamd_smi.so")


LEFT_OUT = (
    "its library is of {} and its bindings of 7.0.2: what it fills may be longer than they expect, "
    "so it is not asked"
)


@pytest.mark.parametrize(
    ("figures", "library"),
    [
        ({"library": 27}, "version 27"),
        ({"library": 0}, "an unknown version"),
        ({"library": 27, "error.amdsmi_get_lib_version": 2}, "an unknown version"),
    ],
    ids=["newer", "none", "does not say"],
)
def test_a_library_that_is_newer_than_the_bindings_fills_nothing(ask, driver, figures, library):
    """Its structure is a MiB longer than theirs: one such call would end the process."""
    longer = driver("amdsmi", "LONGER_STRUCTURES")
    said = ask("amdsmi", longer, HEALTHY | figures, {"pci": "0000:c1:00"})
    assert {
        "device total": 256 * GIB,
        "device used": 13 * GIB,
    } == {name: said["figures"][name] for name in ("device total", "device used")}
    assert LEFT_OUT.format(library) in said["figures"]["this process"]


@pytest.mark.parametrize("library", [25, 26])
def test_one_that_is_no_newer_is_asked_for_all(amd, library):
    assert 12 * GIB == amd({"library": library})["figures"]["this process"]
