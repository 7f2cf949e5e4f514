"""What NVIDIA's driver says, through NVML (`nvidia-ml-py`)."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, ClassVar

from oom_suite.records.measurement import Reading, Tenant
from oom_suite.targets.meters.identity import Candidate, find, visible_lists
from oom_suite.targets.meters.plausible import why_not
from oom_suite.targets.meters.protocol import DEVICE_TOTAL, DEVICE_USED, MeterError
from oom_suite.targets.meters.resident import this_process

if TYPE_CHECKING:
    from oom_suite.targets.meters.protocol import Device

RESERVED = "driver's reserve"
_NOT_THERE = "nvidia-ml-py is not installed (pip install nvidia-ml-py)"


class NvmlMeter:
    """The device's memory in use, and this process's part, as the driver counts them.

    The reserve that the driver keeps for itself is a figure of its own where NVML has version
    2 of its memory information; otherwise it is in what is used.

    Source: nvidia-ml-py 13.615 ``pynvml.py`` (``c_nvmlMemory_v2_t``: bytes; per process:
    bytes, or None for N/A) and the NVML reference, ``nvmlDeviceGetComputeRunningProcesses``.

    Does not prove: peaks between two readings. A context's own memory and what other libraries
    hold is in the process's figure; managed memory is not all in it.
    """

    name: ClassVar[str] = "nvml"
    is_sampled: ClassVar[bool] = True
    steady: ClassVar[frozenset[str]] = frozenset({DEVICE_TOTAL, RESERVED})

    def __init__(self, device: Device, pid: int | None) -> None:
        """Find torch's device among the driver's.

        Raises:
            MeterError: no bindings, no driver, or no device that is surely the one.
        """
        try:
            import pynvml
        except ImportError as error:
            raise MeterError(_NOT_THERE) from error
        self._nvml: Any = pynvml
        self._pid = os.getpid() if pid is None else pid
        with _named_errors(pynvml):
            pynvml.nvmlInit()
        try:
            with _named_errors(pynvml):
                self._handle = self._find(device)
        except MeterError:
            self.close()
            raise

    def _find(self, device: Device) -> Any:
        nvml = self._nvml
        lists = visible_lists(device.kind, os.environ)
        if lists and device.index < len(lists[0]) and lists[0][device.index].startswith("MIG-"):
            return nvml.nvmlDeviceGetHandleByUUID(lists[0][device.index])
        handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        # CUDA numbers by speed unless it is told to number as NVML does, by PCI address.
        has_order = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
        candidates = [
            self._candidate(one, i if has_order else None) for i, one in enumerate(handles)
        ]
        handle = handles[find(device, candidates)]
        with contextlib.suppress(nvml.NVMLError):  # where there is no MIG, asking is an error
            if nvml.nvmlDeviceGetMigMode(handle)[0]:
                msg = (
                    "the GPU is split by MIG and CUDA_VISIBLE_DEVICES names no MIG device: its "
                    "figures would be the whole GPU's"
                )
                raise MeterError(msg)
        return handle

    def _candidate(self, handle: Any, order: int | None) -> Candidate:
        pci = self._nvml.nvmlDeviceGetPciInfo(handle)
        address = f"{pci.domain:04x}:{pci.bus:02x}:{pci.device:02x}"
        return Candidate(address, str(self._nvml.nvmlDeviceGetUUID(handle)), order)

    def begin(self) -> None:
        """Nothing: NVML counts no peak of memory."""

    def read(self) -> tuple[Reading, ...]:
        """Total, in use, the driver's reserve and this process, in bytes."""
        with _named_errors(self._nvml):
            memory, reserve = self._memory()
        reason = why_not(memory.used, memory.total)
        if reason:
            return (Reading(self.name, DEVICE_USED, None, reason),)
        return (
            Reading(self.name, DEVICE_TOTAL, memory.total),
            Reading(self.name, DEVICE_USED, memory.used),
            *(() if reserve is None else (Reading(self.name, RESERVED, reserve),)),
            this_process(self.name, self._pid, self.holders, memory.total),
        )

    def _memory(self) -> tuple[Any, int | None]:
        nvml = self._nvml
        # Older drivers have no version 2, older bindings no argument for it.
        with contextlib.suppress(nvml.NVMLError, AttributeError, TypeError):
            memory = nvml.nvmlDeviceGetMemoryInfo(self._handle, version=nvml.nvmlMemory_v2)
            return memory, memory.reserved
        return nvml.nvmlDeviceGetMemoryInfo(self._handle), None

    def peaks(self) -> tuple[Reading, ...]:
        """Nothing."""
        return ()

    def holders(self) -> tuple[Tenant, ...]:
        """Every process with a compute or graphics context on the device.

        Raises:
            MeterError: the driver does not list them.
        """
        nvml = self._nvml
        held: dict[int, int | None] = {}
        with _named_errors(nvml):
            compute = nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
            graphics: list[Any] = []
            with contextlib.suppress(nvml.NVMLError):  # not on MIG devices
                graphics = nvml.nvmlDeviceGetGraphicsRunningProcesses(self._handle)
        for one in (*compute, *graphics):
            amounts = [b for b in (held.get(one.pid), one.usedGpuMemory) if b is not None]
            held[one.pid] = max(amounts, default=None)
        return tuple(Tenant(pid, num_bytes) for pid, num_bytes in sorted(held.items()))

    def close(self) -> None:
        """Give back the library, which counts who uses it."""
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()


@contextlib.contextmanager
def _named_errors(nvml: Any) -> Any:
    """Turn what the bindings raise into one clause."""
    try:
        yield
    except nvml.NVMLError as error:
        msg = f"NVML says: {error}"
        raise MeterError(msg) from error
    except AttributeError as error:
        msg = f"its bindings do not fit: {error}"
        raise MeterError(msg) from error
