"""An environment: where a measurement was made, and whether two may be compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Environment:
    """What decides a measured figure besides the code and its sizes.

    Attributes:
        device_type: ``"cpu"``, ``"cuda"`` or ``"hip"``.
        device: the device's name, for example ``NVIDIA H200``.
        arch: its architecture, for example ``sm_90``, ``gfx942`` or ``x86_64``.
        driver: the driver's version; empty where there is none or it does not say.
        runtime: for example ``CUDA 13.0`` or ``ROCm 7.0``; empty on a CPU.
        torch: torch's version with its build, for example ``2.11.0+cu130``.
        allocator: the caching allocator's settings as text; empty for its defaults.
    """

    device_type: str
    device: str
    arch: str
    driver: str
    runtime: str
    torch: str
    allocator: str

    def differences(self, other: Environment) -> tuple[str, ...]:
        """One clause for each field that differs, for example ``driver 580.1 and 575.2``."""
        return tuple(
            f"{field.name} {mine or 'none'} and {theirs or 'none'}"
            for field in fields(self)
            if (mine := getattr(self, field.name)) != (theirs := getattr(other, field.name))
        )

    def to_json(self) -> dict[str, Any]:
        """The environment as JSON values."""
        return asdict(self)
