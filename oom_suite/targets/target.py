"""What a prediction is for: a kind of device, its architecture, and what torch says of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from oom_suite.errors import unknown
from oom_suite.targets.budgets import DEVICES
from oom_suite.units import GIB

Backend = Literal["generic", "cpu", "cuda", "rocm"]


@dataclass(frozen=True, slots=True)
class Target:
    """A device that code is judged for, whether or not this machine has one.

    Attributes:
        name: as a user spells it, the same in every report: ``cuda:sm_90``, ``rocm:gfx942``.
        backend: torch's build: ``"cuda"``, ``"rocm"`` or ``"cpu"``; ``"generic"`` is an
            accelerator that says ROCm and no architecture, whose kernels take nothing inside.
        arch: ``sm_90``, ``gfx942``; empty for ``cpu`` and ``generic``.
        device_name: what `torch.cuda.get_device_name` gives.
        memory_bytes: all that the device has; 0 where the target is a CPU.
        num_multiprocessors: streaming multiprocessors, or compute units.
        warp_size: threads of a warp or wavefront.
        max_threads_per_multiprocessor: resident threads at most.
        l2_bytes: of the level-2 cache.
        max_threads_per_block: threads of a block at most.
        registers_per_multiprocessor: of 32 bits.
        shared_bytes_per_block: shared memory (LDS) of a block that asks for no more.
        shared_bytes_optin: the same of a block that does.
        shared_bytes_per_multiprocessor: all there is.
        toolkit_version: what `torch.version.cuda` or `torch.version.hip` gives in a build that
            has none.
        dnn_version: what `torch.backends.cudnn.version` gives, cuDNN's or MIOpen's.
        aliases: further spellings: device names.
    """

    name: str
    backend: Backend
    arch: str = ""
    device_name: str = ""
    memory_bytes: int = 0
    num_multiprocessors: int = 0
    warp_size: int = 32
    max_threads_per_multiprocessor: int = 2048
    l2_bytes: int = 0
    max_threads_per_block: int = 1024
    registers_per_multiprocessor: int = 65536
    shared_bytes_per_block: int = 64 * 2**10
    shared_bytes_optin: int = 64 * 2**10
    shared_bytes_per_multiprocessor: int = 64 * 2**10
    toolkit_version: str = "7.0.0"
    dnn_version: int = 3_05_00
    aliases: tuple[str, ...] = ()

    @property
    def capability(self) -> tuple[int, int]:
        """What `torch.cuda.get_device_capability` gives: (9, 0) for ``sm_90``, (9, 4) for gfx942.

        Source: HIP's ``hipDeviceProp_t.major`` and ``minor``: the digits of the gfx number.
        """
        digits = self.arch.removeprefix("sm_").removeprefix("gfx").rstrip("abcdefgh")
        if self.backend == "cuda":
            return int(digits[:-1]), int(digits[-1])
        return (int(digits[:-2]), int(digits[-2])) if digits else (0, 0)


def _memory_bytes(device: str) -> int:
    return next(one.free_bytes for one in DEVICES if one.name == device)


_NVIDIA: Final[dict[str, Any]] = {
    "shared_bytes_per_block": 48 * 2**10,
    "shared_bytes_optin": 227 * 2**10,
    "shared_bytes_per_multiprocessor": 228 * 2**10,
    "dnn_version": 91_900,
}
"""Source: NVIDIA CUDA C++ Programming Guide 13.0, compute capabilities 9.0 and 10.0; cuDNN as
torch 2.11.0+cu130 requires it.
"""

GENERIC = Target(
    "generic",
    "generic",
    device_name="generic accelerator",
    memory_bytes=256 * GIB,
    num_multiprocessors=304,
)
CPU = Target("cpu", "cpu")

TARGETS = (
    GENERIC,
    CPU,
    Target(
        "rocm:gfx942",
        "rocm",
        "gfx942",
        "AMD Instinct MI325X",
        _memory_bytes("MI325X"),
        num_multiprocessors=304,
        warp_size=64,
        l2_bytes=4 * 2**20,
        aliases=("gfx942", "MI300X", "MI325X"),
    ),
    Target(
        "rocm:gfx950",
        "rocm",
        "gfx950",
        "AMD Instinct MI355X",
        _memory_bytes("MI355X"),
        num_multiprocessors=256,
        warp_size=64,
        shared_bytes_per_block=160 * 2**10,
        shared_bytes_optin=160 * 2**10,
        shared_bytes_per_multiprocessor=160 * 2**10,
        l2_bytes=4 * 2**20,
        aliases=("gfx950", "MI355X"),
    ),
    Target(
        "cuda:sm_90",
        "cuda",
        "sm_90",
        "NVIDIA H200",
        _memory_bytes("H200"),
        num_multiprocessors=132,
        l2_bytes=50 * 2**20,
        toolkit_version="13.0",
        **_NVIDIA,
        aliases=("sm_90", "H100", "H200"),
    ),
    Target(
        "cuda:sm_100",
        "cuda",
        "sm_100",
        "NVIDIA B200",
        _memory_bytes("B200"),
        num_multiprocessors=148,
        l2_bytes=126 * 2**20,
        toolkit_version="13.0",
        **_NVIDIA,
        aliases=("sm_100", "B200"),
    ),
)
"""The known targets.

Source: AMD CDNA 3 and CDNA 4 white papers, compute units and wavefronts; NVIDIA H100 and
Blackwell architecture white papers, SXM parts. An H200 said 132 multiprocessors and 50 MiB.
"""

DEFAULT = "rocm:gfx942"
"""The target without a device: the MI325X of the report, since that is whom the gate serves."""


def targets(text: str) -> tuple[str, ...]:
    """The spellings in a text with commas, each target once; none where the text is empty.

    Raises:
        UsageError: there is no such target.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    first: dict[str, str] = {}
    for part in parts:
        first.setdefault(label(part), part)
    return tuple(first.values())


def label(text: str) -> str:
    """How reports call a target: its name, and before it a device whose memory is another's.

    Raises:
        UsageError: there is no such target.
    """
    found = target(text)
    if found.memory_bytes == target(found.name).memory_bytes:
        return found.name
    device = next(alias for alias in found.aliases if alias.lower() == text.strip().lower())
    return f"{device} ({found.name})"


def target(text: str) -> Target:
    """The target that a spelling names: its name, its architecture, or a device's name.

    A device's name gives that device's memory.

    Raises:
        UsageError: there is no such target.
    """
    wanted = text.strip().lower()
    for one in TARGETS:
        if wanted == one.name:
            return one
        for alias in one.aliases:
            if wanted == alias.lower():
                device = next((each for each in DEVICES if each.name == alias), None)
                return one if device is None else replace(one, memory_bytes=device.free_bytes)
    raise unknown("target", text, [n for one in TARGETS for n in (one.name, *one.aliases)])
