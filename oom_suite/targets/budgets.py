"""The bytes a device has for a step: by device name, or as an amount."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.errors import UsageError
from oom_suite.units import GIB, MIB, format_bytes, parse_bytes

if TYPE_CHECKING:
    from collections.abc import Callable


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


FREE = "free"
"""The spelling of what the device of the run has free now."""


def is_total(name: str) -> bool:
    """Whether a budget of this name is all that a device has, which no step ever gets."""
    return any(device.name == name for device in DEVICES)


def budget(text: str, free: Callable[[], Budget] | None = None) -> Budget:
    """The budget that a spelling names.

    Args:
        text: ``MI325X``, a name of `DEVICES` in any case, for all that the device has;
            ``12.74GiB``, an amount as `units.parse_bytes` reads it, for what is free;
            ``MI325X:12.74GiB`` for what is free on one; ``free`` for what `free` finds.
        free: what the device of the run has free now; None where nothing is run on one.

    Raises:
        UsageError: none of these, no bytes at all, or more than the device has.
    """
    wanted = text.strip()
    if wanted.lower() == FREE:
        if free is None:
            msg = f"budget {text!r} has no device here: give {_choices()}"
            raise UsageError(msg)
        return free()
    name, colon, amount = wanted.partition(":")
    device = next((one for one in DEVICES if one.name.lower() == name.strip().lower()), None)
    if device is not None:
        return _left_on(device, amount.strip(), text) if colon else device
    return Budget(wanted, _amount(wanted, text), "given by the user")


def _left_on(device: Budget, amount: str, text: str) -> Budget:
    free_bytes = _amount(amount, text)
    if free_bytes > device.free_bytes:
        msg = (
            f"budget {text!r} is more than a {device.name} has: "
            f"{format_bytes(free_bytes)} of {format_bytes(device.free_bytes)}"
        )
        raise UsageError(msg)
    return Budget(f"{device.name}:{amount}", free_bytes, f"given by the user; {device.source}")


def _amount(amount: str, text: str) -> int:
    if not amount[:1].isdigit() and not amount.startswith("."):
        msg = f"unknown budget {text!r}: give {_choices()}"
        raise UsageError(msg)
    try:
        free_bytes = parse_bytes(amount, least_bare=MIB)
    except UsageError as error:
        msg = f"bad budget: {error}; or give {_choices()}"
        raise UsageError(msg) from None
    if free_bytes == 0:
        msg = f"budget {text!r} is no bytes at all: give {_choices()}"
        raise UsageError(msg)
    return free_bytes


def _choices() -> str:
    names = ", ".join(device.name for device in DEVICES)
    return f"a device ({names}), an amount such as 12.74GiB, or both as MI325X:12.74GiB"
