"""What AMD's driver says, through the `amdsmi` bindings."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
from typing import TYPE_CHECKING, Any, ClassVar

from oom_suite.records.measurement import Reading, Tenant
from oom_suite.targets.meters.identity import Candidate, find, pci_address
from oom_suite.targets.meters.plausible import totals_disagree, why_not
from oom_suite.targets.meters.protocol import DEVICE_TOTAL, DEVICE_USED, MeterError
from oom_suite.targets.meters.resident import this_process
from oom_suite.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oom_suite.targets.meters.protocol import Device

_LIBRARY = "libamd_smi.so"
_NO_ORDER = 0xFFFFFFFF
_VERSION_ROOM_BYTES = 1024
"""Far more than any library writes for its version, which is read first of all."""
_GENERATIONS = {6: 25, 7: 26}
"""The library's major version for that of ROCm, which bindings from PyPI have.

Source: Ubuntu packages ROCm 7.0 to 7.14 as ``libamd-smi26``; AMD's documentation of ROCm 6.1.1 is
that of AMD SMI 24.5.1. That 25 is the last of ROCm 6 was not looked up. From 27.0 on
``amdsmi_enumeration_info_t`` is longer.
"""


class AmdSmiMeter:
    """The device's VRAM in use, and this process's part, as AMD's driver counts them.

    Units, which differ from call to call (Source: amdsmi 7.0.2 ``amdsmi_interface.py`` and
    ``amdsmi.h``): `amdsmi_get_gpu_memory_total` and `amdsmi_get_gpu_memory_usage` give bytes;
    `amdsmi_get_gpu_vram_usage` gives MiB in 32 bits and is used only to check the other two;
    in the process list, ``memory_usage.vram_mem`` is called bytes, but is the kernel's KiB
    times 1000 in versions 6 and 7 (``src/amd_smi/fdinfo.cc``), so up to 2.4 % too small.
    ``mem`` is VRAM, GTT and host memory in one, and is not used.

    A call that fills a structure is made only where the library is no newer than the bindings: a
    newer one may write past the room that they give it. What is left out then is named.

    Does not prove: peaks between two readings; the process's bytes to better than 2.4 %; that
    a real driver answers like this. It was tried with the real bindings and a simulated
    driver library, never on AMD hardware.
    """

    name: ClassVar[str] = "amdsmi"
    is_sampled: ClassVar[bool] = True
    steady: ClassVar[frozenset[str]] = frozenset({DEVICE_TOTAL})

    def __init__(self, device: Device, pid: int | None) -> None:
        """Find torch's device among the driver's.

        Raises:
            MeterError: no bindings, no library, one of another version, no driver, or no
                device that is surely the one.
        """
        self._pid = os.getpid() if pid is None else pid
        self._smi = _bindings()
        with self._named_errors():
            self._smi.amdsmi_init()
            self._newer = _why_newer(self._smi)
            handles = self._smi.amdsmi_get_processor_handles()
            self._handle = handles[find(device, [self._candidate(one) for one in handles])]
            self._vram = self._smi.AmdSmiMemoryType.VRAM
            self._units = self._check_of_units()

    def _candidate(self, handle: Any) -> Candidate:
        smi = self._smi
        address = pci_address(smi.amdsmi_get_gpu_device_bdf(handle))
        uuid, order = "", None
        if self._newer:
            return Candidate(address, uuid, order)
        # What older libraries do not have; torch's PCI address is enough without it.
        with contextlib.suppress(smi.AmdSmiException, AttributeError, ValueError, KeyError):
            uuid = str(smi.amdsmi_get_gpu_asic_info(handle)["asic_serial"])
        with contextlib.suppress(smi.AmdSmiException, AttributeError, ValueError, KeyError):
            number = smi.amdsmi_get_gpu_enumeration_info(handle)["hip_id"]
            order = number if isinstance(number, int) and number != _NO_ORDER else None
        return Candidate(address, uuid, order)

    def _check_of_units(self) -> str:
        """Why this library's figures are no bytes; empty where its two totals agree."""
        if self._newer:
            return ""
        total = self._smi.amdsmi_get_gpu_memory_total(self._handle, self._vram)
        try:
            total_mib = self._smi.amdsmi_get_gpu_vram_usage(self._handle)["vram_total"]
        except (self._smi.AmdSmiException, KeyError):
            return ""
        other = total_mib * MIB if isinstance(total_mib, int) and total_mib else None
        return totals_disagree(total, other)

    def begin(self) -> None:
        """Nothing: the driver counts no peak."""

    def read(self) -> tuple[Reading, ...]:
        """Total, in use and this process, in bytes."""
        with self._named_errors():
            total = self._smi.amdsmi_get_gpu_memory_total(self._handle, self._vram)
            used = self._smi.amdsmi_get_gpu_memory_usage(self._handle, self._vram)
        reason = self._units or why_not(used, total)
        if reason:
            return (Reading(self.name, DEVICE_USED, None, reason),)
        return (
            Reading(self.name, DEVICE_TOTAL, total),
            Reading(self.name, DEVICE_USED, used),
            this_process(self.name, self._pid, self.holders, total),
        )

    def peaks(self) -> tuple[Reading, ...]:
        """Nothing."""
        return ()

    def holders(self) -> tuple[Tenant, ...]:
        """Every process that the driver lists on the device, with its VRAM in bytes.

        Raises:
            MeterError: the driver does not list them, or its library is newer than the bindings.
        """
        if self._newer:
            raise MeterError(self._newer)
        with self._named_errors():
            listed = self._smi.amdsmi_get_gpu_process_list(self._handle)
            return tuple(_holder(one) for one in listed)

    def close(self) -> None:
        """Nothing: torch may use the same library, and shutting it down would end that too."""

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Turn what the bindings raise into one clause."""
        try:
            yield
        except self._smi.AmdSmiException as error:
            described = getattr(error, "err_info", "") or str(error)
            msg = f"amdsmi says: {' '.join(str(described).split())}"
            raise MeterError(msg) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = f"its bindings and its library do not fit: {type(error).__name__}: {error}"
            raise MeterError(msg) from error


def _why_newer(smi: Any) -> str:
    """Why the library may write past what the bindings give it; empty where it does not."""
    wrapper = smi.amdsmi_wrapper
    room = ctypes.create_string_buffer(_VERSION_ROOM_BYTES)
    kind = ctypes.POINTER(wrapper.struct_amdsmi_version_t)
    status = wrapper.amdsmi_get_lib_version(ctypes.cast(room, kind))
    library = ctypes.c_uint32.from_buffer(room).value if status == 0 else 0
    of_bindings = str(getattr(smi, "__version__", "unknown"))
    major = int(of_bindings.partition(".")[0]) if of_bindings.partition(".")[0].isdigit() else 0
    if 0 < library <= _GENERATIONS.get(major, major):
        return ""
    of_library = f"version {library}" if library else "an unknown version"
    return (
        f"its library is of {of_library} and its bindings of {of_bindings}: what it fills may be "
        "longer than they expect, so it is not asked"
    )


def _bindings() -> Any:
    """The `amdsmi` module.

    Raises:
        MeterError: it cannot be imported, and why.
    """
    try:
        # It prints to the screen when it finds no library, and then dies of a KeyError.
        with contextlib.redirect_stdout(io.StringIO()):
            import amdsmi
    except ModuleNotFoundError as error:
        msg = "amdsmi is not installed (ROCm brings it; or pip install amdsmi)"
        raise MeterError(msg) from error
    except KeyError as error:
        msg = f"amdsmi finds no {_LIBRARY}"
        raise MeterError(msg) from error
    except AttributeError as error:
        msg = f"amdsmi and its {_LIBRARY} are of different versions: {error}"
        raise MeterError(msg) from error
    except Exception as error:
        msg = f"amdsmi cannot be imported: {type(error).__name__}: {error}"
        raise MeterError(msg) from error
    return amdsmi


def _holder(one: dict[str, Any]) -> Tenant:
    num_bytes = one["memory_usage"]["vram_mem"]
    name = str(one.get("name") or "").rpartition("/")[2]
    if not one["pid"]:
        msg = "pid 0 in the list of processes"  # no process: a structure of another layout
        raise ValueError(msg)
    return Tenant(
        int(one["pid"]),
        num_bytes if isinstance(num_bytes, int) else None,
        "" if name == "A" else name,  # the end of N/A
    )
