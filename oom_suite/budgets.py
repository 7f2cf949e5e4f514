"""The bytes a device has for a step: by device name, or as an amount."""

from __future__ import annotations

from dataclasses import dataclass

from oom_suite.errors import UsageError
from oom_suite.units import GIB, MIB, parse_bytes


@dataclass(frozen=True, slots=True)
class Budget:
    """What a scenario's peak has to fit in.

    Attributes:
        name: the device's name, or the amount as the user wrote it.
        free_bytes: bytes the peak may take. For a device name this is the device's *total*:
            no more than that can ever be free, and a serving process leaves far less of it.
        source: where the figure comes from.
    """

    name: str
    free_bytes: int
    source: str


DEVICES = (
    Budget(
        "MI300X",
        192 * GIB - 16 * MIB,
        "total: rocm-smi 'VRAM Total Memory (B): 206141652992' (ROCm/ROCm issue 4750); "
        "rocminfo 201310208 KB (ROCm/ROCm issue 4414)",
    ),
    Budget(
        "MI325X",
        256 * GIB - 16 * MIB,
        "total: HIP 'total capacity of 255.98 GiB' (vllm-project/vllm issue 41962); to the byte, "
        "the 256 GiB of AMD's GPU specifications less the 16 MiB that MI300X and MI355X lack too",
    ),
    Budget(
        "MI355X",
        288 * GIB - 16 * MIB,
        "total: rocm-smi 'VRAM Total Memory (B): 309220868096'; HIP 'total capacity of 287.98 GiB' "
        "(ROCm/TheRock issue 2118)",
    ),
    Budget("H100", 81559 * MIB, "total: nvidia-smi 81559 MiB (NVIDIA/nccl issue 1264; SXM, 80 GB)"),
    Budget("H200", 143771 * MIB, "total: nvidia-smi 143771 MiB"),
    Budget("B200", 183359 * MIB, "total: nvidia-smi 183359 MiB (NVIDIA/TensorRT-LLM issue 10278)"),
)
"""The known devices. One device each: a partition (MIG, CPX) has a share of it.

Source: each entry's `source`.
"""


def budget(text: str) -> Budget:
    """The budget that a device name such as ``MI325X`` or an amount such as ``12.74GiB`` names.

    Args:
        text: a name of `DEVICES` in any case, or an amount as `units.parse_bytes` reads it.

    Raises:
        UsageError: neither, or no bytes at all.
    """
    wanted = text.strip()
    for device in DEVICES:
        if device.name.lower() == wanted.lower():
            return device
    choices = f"a device ({', '.join(d.name for d in DEVICES)}) or an amount such as 12.74GiB"
    if not wanted[:1].isdigit() and not wanted.startswith("."):
        msg = f"unknown budget {text!r}: give {choices}"
        raise UsageError(msg)
    try:
        free_bytes = parse_bytes(wanted)
    except UsageError as error:
        msg = f"bad budget: {error}; or give {choices}"
        raise UsageError(msg) from None
    if free_bytes == 0:
        msg = f"budget {text!r} is no bytes at all: give {choices}"
        raise UsageError(msg)
    return Budget(wanted, free_bytes, "given by the user")
