"""Which of a driver's devices is torch's: by PCI address, by UUID, or by what is visible."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.targets.meters.protocol import Device, MeterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PCI = re.compile(
    r"(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})(?:\.[0-9a-f])?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One device as a driver's library lists it.

    Attributes:
        pci: as `pci_address` writes it.
        uuid: without ``GPU-``; empty where the library does not say.
        order: its place in the order that CUDA or HIP numbers devices in; None where that is
            not known.
    """

    pci: str
    uuid: str = ""
    order: int | None = None


def pci_address(text: str) -> str:
    """``domain:bus:device``, lower case, four digits of domain; empty for what is no address.

    The function is left out: it tells partitions of one GPU apart, and torch does not give it.
    """
    match = _PCI.fullmatch(text.strip())
    if match is None:
        return ""
    domain, bus, device = (int(part or "0", 16) for part in match.groups())
    return f"{domain:04x}:{bus:02x}:{device:02x}"


def identify(device_type: str, index: int | None) -> Device:
    """The device as torch knows it, where torch is loaded and has begun to use it.

    Nothing is imported or started for it: a meter must not change what it measures.

    Args:
        device_type: ``"cpu"``, ``"cuda"`` or ``"hip"``; torch calls HIP devices ``cuda`` too.
        index: torch's index; None for 0.
    """
    index = index or 0
    torch = sys.modules.get("torch")
    if device_type == "cpu" or torch is None:
        return Device(device_type, index)
    kind = "hip" if getattr(torch.version, "hip", None) else device_type
    if not torch.cuda.is_initialized():
        return Device(kind, index)
    try:
        properties = torch.cuda.get_device_properties(index)
    except (RuntimeError, AssertionError):
        return Device(kind, index)
    return Device(kind, index, _pci_of(properties), _uuid_of(properties))


def _pci_of(properties: object) -> str:
    bus = getattr(properties, "pci_bus_id", None)
    device = getattr(properties, "pci_device_id", None)
    domain = getattr(properties, "pci_domain_id", None)
    if not isinstance(bus, int) or not isinstance(device, int) or not isinstance(domain, int):
        return ""
    return f"{domain:04x}:{bus:02x}:{device:02x}"


def _uuid_of(properties: object) -> str:
    return _bare(str(getattr(properties, "uuid", "") or ""))


def find(
    device: Device, candidates: Sequence[Candidate], environ: Mapping[str, str] | None = None
) -> int:
    """The place in `candidates` of torch's device.

    Args:
        device: with its PCI address or UUID where torch gave one.
        candidates: every device of the driver, whether visible to this process or not.
        environ: where ``CUDA_VISIBLE_DEVICES`` and the others are; this process's by default.

    Raises:
        MeterError: none fits, or several do. It is never guessed.
    """
    if not candidates:
        msg = "its driver lists no device"
        raise MeterError(msg)
    for what, mine in (("PCI address", device.pci), ("UUID", device.uuid)):
        key = "pci" if what == "PCI address" else "uuid"
        theirs = [_bare(getattr(one, key)) for one in candidates]
        if mine and any(theirs):
            return _only([i for i, one in enumerate(theirs) if one == mine], what, mine)
    return _by_visibility(device, candidates, os.environ if environ is None else environ)


def _only(places: list[int], what: str, value: str) -> int:
    if len(places) == 1:
        return places[0]
    if not places:
        msg = f"its driver lists no device with torch's {what} {value}"
    else:
        msg = f"its driver lists {len(places)} devices with {what} {value} (a partitioned GPU)"
    raise MeterError(msg)


def _by_visibility(
    device: Device, candidates: Sequence[Candidate], environ: Mapping[str, str]
) -> int:
    """Source: HIP's "GPU isolation techniques": ROCR's list first, HIP's indexes into it.

    HIP reads ``CUDA_VISIBLE_DEVICES`` where ``HIP_VISIBLE_DEVICES`` is not set.
    """
    if len(candidates) == 1:
        places = [0]
    else:
        ordered = [i for i, one in enumerate(candidates) if one.order is not None]
        if len(ordered) != len(candidates):
            msg = (
                f"its driver lists {len(candidates)} devices, and torch does not say which is "
                f"its device {device.index}"
            )
            raise MeterError(msg)
        places = sorted(ordered, key=lambda i: candidates[i].order or 0)
    for names in visible_lists(device.kind, environ):
        places = _chosen(places, names, candidates)
    if device.index >= len(places):
        msg = f"torch's device {device.index} is not among the {len(places)} visible ones"
        raise MeterError(msg)
    return places[device.index]


def visible_lists(kind: str, environ: Mapping[str, str]) -> list[list[str]]:
    """What the variables that hide devices name, in the order in which they apply."""
    cuda = environ.get("CUDA_VISIBLE_DEVICES")
    if kind == "hip":
        found = [environ.get("ROCR_VISIBLE_DEVICES"), environ.get("HIP_VISIBLE_DEVICES", cuda)]
    else:
        found = [cuda]
    return [
        [part.strip() for part in one.split(",") if part.strip()]
        for one in found
        if one is not None
    ]


def _chosen(places: list[int], names: list[str], candidates: Sequence[Candidate]) -> list[int]:
    """The devices that a list names; like the drivers, it ends at the first unknown name."""
    chosen: list[int] = []
    for name in names:
        if name.isdigit():
            fitting = places[int(name) : int(name) + 1]
        else:
            start = _bare(name)
            fitting = [i for i in places if start and _bare(candidates[i].uuid).startswith(start)]
        if len(fitting) != 1:
            break
        chosen += fitting
    return chosen


def _bare(uuid: str) -> str:
    return uuid.removeprefix("GPU-").removeprefix("0x").lower()
