"""What the Linux kernel says of an AMD GPU: sysfs, a process's fdinfo, and the KFD."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from oom_suite.records.measurement import Reading, Tenant
from oom_suite.targets.meters.identity import Candidate, find, pci_address
from oom_suite.targets.meters.plausible import why_not
from oom_suite.targets.meters.protocol import DEVICE_TOTAL, DEVICE_USED, THIS_PROCESS, MeterError
from oom_suite.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oom_suite.targets.meters.protocol import Device

_KEYS = ("drm-resident-vram", "drm-memory-vram", "drm-total-vram")
"""What holds the bytes in VRAM, the best first: the second is the first's old name, the third
counts buffers that may lie elsewhere."""
_SCALES = {"": 1, "KiB": KIB, "MiB": MIB}


def vram_in(text: str, address: str) -> tuple[str, int] | None:
    """The client and its bytes of VRAM in one file of ``/proc/PID/fdinfo``.

    Args:
        text: the file.
        address: the device's ``domain:bus:device``; of another device the answer is None.

    Source: Linux ``Documentation/gpu/drm-usage-stats.rst``: keys, units (bytes unless KiB or
    MiB follows), and that equal client ids must not be counted twice.
    """
    fields = dict(_fields(text))
    if pci_address(fields.get("drm-pdev", "")) != address:
        return None
    amount = next((fields[key] for key in _KEYS if key in fields), None)
    client = fields.get("drm-client-id")
    if amount is None or client is None:
        return None
    number, _, unit = amount.partition(" ")
    if not number.isdigit() or unit.strip() not in _SCALES:
        msg = f"fdinfo says {amount!r} of VRAM, which is no amount"
        raise MeterError(msg)
    return client, int(number) * _SCALES[unit.strip()]


def _fields(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            yield key.strip(), value.strip()


class DrmMeter:
    """An amdgpu device without any library: the fall-back where amdsmi is not there.

    In use and total are from ``/sys/class/drm/card*/device/mem_info_vram_*`` (bytes), this
    process from ``/proc/PID/fdinfo`` (each client once, however many descriptors it has), all
    processes from ``/sys/class/kfd/kfd/proc/PID/vram_GPU`` (bytes), which other users' are in.

    Source: Linux ``Documentation/gpu/amdgpu/driver-misc.rst``, ``drm-usage-stats.rst``,
    ``drivers/gpu/drm/amd/amdkfd/kfd_process.c``.

    Does not prove: peaks between two readings; memory that graphics clients of other users
    hold. It was tried on made-up folders, never on AMD hardware.
    """

    name: ClassVar[str] = "drm"
    is_sampled: ClassVar[bool] = True
    steady: ClassVar[frozenset[str]] = frozenset({DEVICE_TOTAL})

    def __init__(self, device: Device, pid: int | None, root: Path = Path("/")) -> None:
        """Find torch's device among the kernel's.

        Args:
            device: torch's device.
            pid: the process whose part is read; this one when None.
            root: where ``/sys`` and ``/proc`` are; tests plant a tree there.

        Raises:
            MeterError: there is no amdgpu device, or none that is surely the one.
        """
        self._root = root
        self._pid = os.getpid() if pid is None else pid
        cards = sorted(_cards(root))
        if not cards:
            msg = "the kernel has no amdgpu device (/sys/class/drm)"
            raise MeterError(msg)
        self._address, self._card = cards[find(device, [Candidate(a) for a, _ in cards])]

    def begin(self) -> None:
        """Nothing: the kernel counts no peak of VRAM."""

    def read(self) -> tuple[Reading, ...]:
        """Total, in use and this process, in bytes."""
        used, total = (self._amount(f"mem_info_vram_{what}") for what in ("used", "total"))
        reason = why_not(used, total)
        if reason:
            return (Reading(self.name, DEVICE_USED, None, reason),)
        return (
            Reading(self.name, DEVICE_TOTAL, total),
            Reading(self.name, DEVICE_USED, used),
            self._process(total),
        )

    def _amount(self, file: str) -> int:
        try:
            return int((self._card / file).read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            msg = f"{file} cannot be read ({type(error).__name__})"
            raise MeterError(msg) from error

    def _process(self, total: int) -> Reading:
        try:
            clients = self._clients()
        except MeterError as error:
            return Reading(self.name, THIS_PROCESS, None, str(error))
        if not clients:
            why = f"pid {self._pid} has no descriptor of the device that says how much it holds"
            return Reading(self.name, THIS_PROCESS, None, why)
        num_bytes = sum(clients.values())
        reason = why_not(num_bytes, total)
        return Reading(self.name, THIS_PROCESS, None if reason else num_bytes, reason)

    def _clients(self) -> dict[str, int]:
        folder = self._root / "proc" / str(self._pid) / "fdinfo"
        clients: dict[str, int] = {}
        try:
            files = sorted(folder.iterdir())
        except OSError as error:
            msg = f"fdinfo of pid {self._pid} cannot be read ({error.strerror})"
            raise MeterError(msg) from error
        for file in files:
            try:
                found = vram_in(file.read_text(encoding="utf-8", errors="replace"), self._address)
            except OSError:  # closed since it was listed
                continue
            if found is not None:
                clients[found[0]] = found[1]
        return clients

    def peaks(self) -> tuple[Reading, ...]:
        """Nothing."""
        return ()

    def holders(self) -> tuple[Tenant, ...] | None:
        """Every process that the KFD lists on the device; None where there is no such list."""
        gpu_id = _kfd_gpu_id(self._root, self._address)
        folder = self._root / "sys/class/kfd/kfd/proc"
        if gpu_id is None or not folder.is_dir():
            return None
        found = []
        for process in sorted(folder.iterdir()):
            try:
                text = (process / f"vram_{gpu_id}").read_text(encoding="ascii").strip()
            except OSError:
                continue
            if process.name.isdigit() and text.isdigit() and int(text):
                found.append(Tenant(int(process.name), int(text)))
        return tuple(found)

    def close(self) -> None:
        """Nothing is held open."""


def _cards(root: Path) -> Iterator[tuple[str, Path]]:
    """Address and sysfs folder of every amdgpu device that says how much VRAM it has."""
    for device in (root / "sys/class/drm").glob("card*/device"):
        if not (device / "mem_info_vram_total").exists():
            continue
        try:
            fields = (device / "uevent").read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        slot = next((f.partition("=")[2] for f in fields if f.startswith("PCI_SLOT_NAME=")), "")
        if pci_address(slot):
            yield pci_address(slot), device


def _kfd_gpu_id(root: Path, address: str) -> str | None:
    """The KFD's number of the device.

    Source: ``kfd_topology.c``: ``location_id`` is the bus and the function's byte.
    """
    domain, bus, device = (int(part, 16) for part in address.split(":"))
    for node in sorted((root / "sys/class/kfd/kfd/topology/nodes").glob("*")):
        try:
            lines = (node / "properties").read_text(encoding="ascii").splitlines()
            gpu_id = (node / "gpu_id").read_text(encoding="ascii").strip()
        except OSError:
            continue
        fields = dict(line.split(" ", 1) for line in lines if " " in line)
        place = int(fields.get("location_id", "0"))
        if (int(fields.get("domain", "0")), place >> 8, (place & 0xFF) >> 3) == (
            domain,
            bus,
            device,
        ) and gpu_id != "0":
            return gpu_id
    return None
