"""An amdgpu device by the kernel's own files, on planted trees; never on AMD hardware."""

from __future__ import annotations

import pytest

from oom_suite.records.measurement import Reading, Tenant
from oom_suite.targets.meters.drm import DrmMeter, vram_in
from oom_suite.targets.meters.protocol import Device, MeterError

GIB, MIB, KIB = 1 << 30, 1 << 20, 1 << 10
PCI = "0000:c1:00"
CLIENT = "drm-driver:\tamdgpu\ndrm-pdev:\t{pdev}\ndrm-client-id:\t{client}\n{amount}\n"


def client(amount, client=5, pdev="0000:c1:00.0"):
    return CLIENT.format(amount=amount, client=client, pdev=pdev)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("drm-memory-vram:\t64 KiB", 64 * KIB),
        ("drm-resident-vram:\t3 MiB", 3 * MIB),
        ("drm-total-vram:\t77", 77),
        ("drm-total-vram:\t9 MiB\ndrm-memory-vram:\t2 MiB", 2 * MIB),
        ("drm-memory-vram:\t2 MiB\ndrm-resident-vram:\t1 MiB", MIB),
        ("drm-memory-vram:\t0 KiB", 0),
    ],
    ids=["memory", "resident", "total-in-bytes", "not-the-total", "the-newest-key", "zero"],
)
def test_a_clients_bytes_are_read_in_their_unit(amount, expected):
    """KiB, MiB or bytes, by the best key that is there."""
    assert ("5", expected) == vram_in(client(amount), PCI)


@pytest.mark.parametrize(
    "text",
    [
        "pos:\t0\nflags:\t02\n",
        client("drm-memory-vram:\t64 KiB", pdev="0000:05:00.0"),
        client("drm-engine-gfx:\t5 ns"),
        "drm-pdev:\t0000:c1:00.0\ndrm-memory-vram:\t64 KiB\n",
    ],
    ids=["no-drm", "another-device", "no-memory", "no-client"],
)
def test_what_says_nothing_of_the_device_is_passed_over(text):
    """Most descriptors of a process are files."""
    assert vram_in(text, PCI) is None


@pytest.mark.parametrize("amount", ["64 KB", "many", "-1 KiB", ""])
def test_an_amount_that_is_none_is_refused(amount):
    """An unknown unit is not taken for bytes."""
    with pytest.raises(MeterError, match="which is no amount"):
        vram_in(client(f"drm-memory-vram:\t{amount}"), PCI)


def plant(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def plant_card(root, number=0, slot="0000:c1:00.0", used=2 * GIB, total=64 * GIB):
    folder = f"sys/class/drm/card{number}/device"
    plant(root, f"{folder}/uevent", f"DRIVER=amdgpu\nPCI_SLOT_NAME={slot}\n")
    plant(root, f"{folder}/mem_info_vram_used", f"{used}\n")
    plant(root, f"{folder}/mem_info_vram_total", f"{total}\n")


@pytest.fixture
def root(tmp_path):
    """One card; pid 7 has two descriptors of one client and one of another."""
    plant_card(tmp_path)
    plant(tmp_path, "proc/7/fdinfo/3", client("drm-memory-vram:\t1024 KiB", 5))
    plant(tmp_path, "proc/7/fdinfo/4", client("drm-memory-vram:\t1024 KiB", 5))
    plant(tmp_path, "proc/7/fdinfo/5", client("drm-memory-vram:\t2048 KiB", 6))
    return tmp_path


def figures(root, device=None, pid=7):
    meter = DrmMeter(device or Device("hip", 0), pid, root)
    return {one.quantity: one.num_bytes or one.why_not for one in meter.read()}


def test_a_client_with_two_descriptors_counts_once(root):
    """1 MiB and 2 MiB, not 4."""
    assert {
        "device total": 64 * GIB,
        "device used": 2 * GIB,
        "this process": 3 * MIB,
    } == figures(root)


def test_the_device_is_found_by_its_address(root):
    """A second card is not the first."""
    plant_card(root, 1, "0000:05:00.0", used=GIB)
    assert GIB == figures(root, Device("hip", 0, pci="0000:05:00"))["device used"]


def test_two_cards_without_an_address_are_not_guessed_between(root):
    """The kernel numbers cards in its own order."""
    plant_card(root, 1, "0000:05:00.0")
    with pytest.raises(MeterError, match="torch does not say which"):
        figures(root)


def test_a_process_without_a_descriptor_has_no_figure(root):
    """It is a reason and not a zero."""
    plant(root, "proc/8/fdinfo/0", "pos:\t0\n")
    assert "pid 8 has no descriptor of the device" in figures(root, pid=8)["this process"]


def test_a_process_that_cannot_be_read_is_the_reason(root):
    """The device's figures stay."""
    said = figures(root, pid=9)
    assert "fdinfo of pid 9 cannot be read" in said["this process"]
    assert 2 * GIB == said["device used"]


def test_no_card_is_the_reason(tmp_path):
    """Or no AMD card."""
    with pytest.raises(MeterError, match="the kernel has no amdgpu device"):
        DrmMeter(Device("hip", 0), 7, tmp_path)


@pytest.mark.parametrize(
    ("used", "total", "expected"),
    [
        (1, 0, "it says that the device has 0 B in all"),
        (65 * GIB, 64 * GIB, "it says 65.00 GiB of a total of 64.00 GiB"),
    ],
)
def test_a_cards_nonsense_is_named_and_left_out(tmp_path, used, total, expected):
    """The only reading is the reason."""
    plant_card(tmp_path, used=used, total=total)
    assert {"device used": expected} == figures(tmp_path)


def test_a_card_that_stops_answering_is_the_reason(root):
    """For example while the driver resets it."""
    meter = DrmMeter(Device("hip", 0), 7, root)
    plant(root, "sys/class/drm/card0/device/mem_info_vram_used", "")
    with pytest.raises(MeterError, match=r"mem_info_vram_used cannot be read \(ValueError\)"):
        meter.read()


def plant_kfd(root):
    nodes = "sys/class/kfd/kfd/topology/nodes"
    plant(root, f"{nodes}/0/properties", "location_id 0\ndomain 0\n")
    plant(root, f"{nodes}/0/gpu_id", "0\n")
    plant(root, f"{nodes}/1/properties", f"location_id {0xC1 << 8}\ndomain 0\n")
    plant(root, f"{nodes}/1/gpu_id", "1234\n")
    plant(root, "sys/class/kfd/kfd/proc/7/vram_1234", f"{GIB}\n")
    plant(root, "sys/class/kfd/kfd/proc/8/vram_1234", "0\n")
    plant(root, "sys/class/kfd/kfd/proc/9/vram_999", f"{GIB}\n")


def test_the_kfd_lists_who_holds_memory_on_the_device(root):
    """Not who holds none, nor who holds some on another."""
    plant_kfd(root)
    assert (Tenant(7, GIB),) == DrmMeter(Device("hip", 0), 7, root).holders()


def test_without_the_kfd_there_is_no_list(root):
    """None is not an empty list."""
    assert DrmMeter(Device("hip", 0), 7, root).holders() is None


def test_the_meter_names_itself(root):
    """Every reading says whose it is."""
    meter = DrmMeter(Device("hip", 0), 7, root)
    assert {"drm"} == {one.meter for one in meter.read() if isinstance(one, Reading)}
