"""What the CUDA or HIP runtime says is free on the device, through torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from oom_suite.records.measurement import Reading, Tenant
from oom_suite.targets.meters.plausible import why_not
from oom_suite.targets.meters.protocol import DEVICE_TOTAL, DEVICE_USED, MeterError

if TYPE_CHECKING:
    from oom_suite.targets.meters.protocol import Device


class MemGetInfoMeter:
    """The device as the runtime sees it: total, and what nobody can allocate any more.

    It is not sampled: the call goes through the runtime that the code under test uses, and a
    second thread in there could disturb it, above all while a graph is captured.

    Does not prove: whose the memory is, nor what the peak between two readings was.
    """

    name: ClassVar[str] = "mem_get_info"
    is_sampled: ClassVar[bool] = False
    steady: ClassVar[frozenset[str]] = frozenset({DEVICE_TOTAL})

    def __init__(self, device: Device) -> None:
        """Ask about torch's device.

        Raises:
            MeterError: torch is not there, or has no device.
        """
        try:
            import torch
        except Exception as error:
            msg = f"torch cannot be imported: {type(error).__name__}: {error}"
            raise MeterError(msg) from error
        if not torch.cuda.is_available():
            msg = f"torch {torch.__version__} sees no GPU here"
            raise MeterError(msg)
        self._ask = torch.cuda.mem_get_info
        self._index = device.index

    def begin(self) -> None:
        """Nothing: the runtime counts no peak."""

    def read(self) -> tuple[Reading, ...]:
        """Total, and total less free, in bytes."""
        try:
            free, total = self._ask(self._index)
        except RuntimeError as error:  # HIP raises where the driver cannot answer
            reason = f"torch.cuda.mem_get_info failed: {str(error).splitlines()[0]}"
            return (Reading(self.name, DEVICE_USED, None, reason),)
        reason = why_not(free, total)
        if reason:
            return (Reading(self.name, DEVICE_USED, None, reason),)
        return (
            Reading(self.name, DEVICE_TOTAL, total),
            Reading(self.name, DEVICE_USED, total - free),
        )

    def peaks(self) -> tuple[Reading, ...]:
        """Nothing."""
        return ()

    def holders(self) -> tuple[Tenant, ...] | None:
        """None: the runtime does not name processes."""
        return None

    def close(self) -> None:
        """Nothing is held open."""
