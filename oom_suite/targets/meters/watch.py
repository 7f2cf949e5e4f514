"""Everything that this machine can say beside the allocator, while a call runs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Self, TypeVar

from oom_suite.records.measurement import Reading, Tenant
from oom_suite.targets.meters.amd_smi import AmdSmiMeter
from oom_suite.targets.meters.cgroup import CgroupMeter
from oom_suite.targets.meters.drm import DrmMeter
from oom_suite.targets.meters.identity import identify
from oom_suite.targets.meters.mem_get_info import MemGetInfoMeter
from oom_suite.targets.meters.nvml import NvmlMeter
from oom_suite.targets.meters.plausible import too_small
from oom_suite.targets.meters.processes import family, num_with_context, strangers
from oom_suite.targets.meters.protocol import DEVICE_USED, THIS_PROCESS, MeterError
from oom_suite.targets.meters.resident import ResidentMeter
from oom_suite.targets.meters.sampler import INTERVAL_S, Sampler, Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.targets.meters.protocol import Device, Meter

    Opener = Callable[[], Meter]

T = TypeVar("T")
ALL = "all"
OTHERS = "other processes"
PEAK = "peak of the samples"
_COVER_US = frozenset({DEVICE_USED, THIS_PROCESS})


def openers(device: Device, pid: int | None = None) -> dict[str, Opener]:
    """The meters that fit a device, by name; each is opened by its call.

    Args:
        device: from `identify`.
        pid: the process that is measured; this one when None.
    """
    found: dict[str, Opener] = {
        ResidentMeter.name: lambda: ResidentMeter(pid),
        CgroupMeter.name: lambda: CgroupMeter(pid),
    }
    if device.kind == "cpu":
        return found
    found[MemGetInfoMeter.name] = lambda: MemGetInfoMeter(device)
    if device.kind == "hip":
        found[AmdSmiMeter.name] = lambda: AmdSmiMeter(device, pid)
        found[DrmMeter.name] = lambda: DrmMeter(device, pid)
    else:
        found[NvmlMeter.name] = lambda: NvmlMeter(device, pid)
    return found


class Watch:
    """Reads every meter before, during and after what runs inside its ``with`` block.

    ``with Watch("cuda", 0) as watch: call()`` and then `watch.readings` and `watch.tenants`.
    No meter ends the run: what one raises is the reason in its reading. On a GPU the block
    should end synchronized, else the last reading is of work that still runs.

    Attributes:
        readings: for every figure that does not change, one reading; for every other one
            ``NAME, before``, ``NAME, after`` and, where it was sampled, ``NAME, peak of the
            samples``; peaks that the system counted; and why the rest is not there.
        tenants: other processes that held memory on the device before or after.

    Does not prove: that a sampled peak is the peak; the reading ``between samples`` says for
    how long nobody looked. A tenant that came and went in between is not seen.
    """

    def __init__(
        self,
        device_type: str,
        device_index: int | None = None,
        pid: int | None = None,
        *,
        meters: Mapping[str, Opener] | None = None,
        interval_s: float = INTERVAL_S,
    ) -> None:
        """Prepare; nothing is opened before the block begins.

        Args:
            device_type: ``"cpu"``, ``"cuda"`` or ``"hip"`` (``"cuda"`` is right for both).
            device_index: torch's index; None for 0.
            pid: the process that is measured; this one when None.
            meters: what to read, by name; by default what fits the device.
            interval_s: seconds from one sample to the next, at best.
        """
        self._place = (device_type, device_index)
        self._pid = pid
        self._openers = meters
        self._interval_s = interval_s
        self._meters: list[Meter] = []
        self._opened: list[Meter] = []
        self._failures: dict[str, str] = {}
        self._before: dict[tuple[str, str], Reading] = {}
        self._found: list[Tenant] = []
        self._list_reasons: list[Reading] = []
        self._sampler: Sampler | None = None
        self._device: Device | None = None
        self.readings: tuple[Reading, ...] = ()
        self.tenants: tuple[Tenant, ...] = ()

    def __enter__(self) -> Self:
        """Open the meters, read them, and start to sample."""
        self._device = identify(*self._place)
        wanted = self._openers or openers(self._device, self._pid)
        for name, opener in wanted.items():
            self._open(name, opener)
        self._look_for_tenants()
        for meter in tuple(self._meters):
            self._guard(meter.name, meter.begin)
        self._before = self._read_all()
        sampled = [one for one in self._meters if one.is_sampled]
        self._sampler = Sampler(sampled, self._interval_s)
        self._sampler.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop sampling, read once more, close; also when the block raised."""
        assert self._sampler is not None
        samples = self._sampler.stop()
        for name, why in samples.failures.items():
            self._drop(name, why)
        counted = [reading for meter in tuple(self._meters) for reading in self._peaks_of(meter)]
        after = self._read_all()
        self._look_for_tenants()
        readings = (*self._composed(after, samples), *counted)
        is_sampled = any(meter.is_sampled for meter in self._meters)
        for meter in self._opened:
            # The sampler closes what failed there, and nobody touches what hangs.
            if meter.name not in samples.failures:
                self._guard(meter.name, meter.close)
        self.readings = (*readings, *self._left_out(samples if is_sampled else None))
        self.tenants = tuple({one.pid: one for one in self._found}.values())

    def _open(self, name: str, opener: Opener) -> None:
        meter = self._guard(name, opener)
        if meter is not None:
            self._meters.append(meter)
            self._opened.append(meter)

    def _guard(self, name: str, action: Callable[[], T]) -> T | None:
        """The action's answer; None when it raised, and then the meter is named and dropped."""
        try:
            return action()
        except MeterError as error:
            self._drop(name, str(error))
        except Exception as error:
            self._drop(name, f"{type(error).__name__}: {error}")
        return None

    def _drop(self, name: str, why: str) -> None:
        self._failures.setdefault(name, " ".join(why.split()))
        self._meters = [meter for meter in self._meters if meter.name != name]

    def _read_all(self) -> dict[tuple[str, str], Reading]:
        found: dict[tuple[str, str], Reading] = {}
        held_bytes = self._held_bytes()
        for meter in tuple(self._meters):
            readings = self._guard(meter.name, meter.read)
            for one in readings or ():
                found[one.meter, one.quantity] = _covering_us(one, held_bytes)
        return found

    def _peaks_of(self, meter: Meter) -> tuple[Reading, ...]:
        return self._guard(meter.name, meter.peaks) or ()

    def _look_for_tenants(self) -> None:
        """Ask the first meter that has a list of processes."""
        for meter in tuple(self._meters):
            holders = self._holders_of(meter)
            if holders is None:
                continue
            ours = family(os.getpid() if self._pid is None else self._pid)
            others, reason = strangers(holders, ours, self._held_bytes(), num_with_context(ours))
            self._found.extend(others)
            left_out = Reading(meter.name, OTHERS, None, reason)
            if reason and left_out not in self._list_reasons:
                self._list_reasons.append(left_out)
            return

    def _holders_of(self, meter: Meter) -> tuple[Tenant, ...] | None:
        # A meter without a list keeps its other figures.
        try:
            return meter.holders()
        except Exception as error:
            reason = Reading(meter.name, OTHERS, None, " ".join(str(error).split()))
            if reason not in self._list_reasons:
                self._list_reasons.append(reason)
            return None

    def _held_bytes(self) -> int:
        """What torch's allocator holds on the device here: no true figure of it can be less."""
        torch = sys.modules.get("torch")
        device = self._device
        if torch is None or device is None or device.kind == "cpu" or self._pid is not None:
            return 0
        if not torch.cuda.is_initialized():
            return 0
        return int(torch.cuda.memory_reserved(device.index))

    def _composed(
        self, after: Mapping[tuple[str, str], Reading], samples: Samples
    ) -> list[Reading]:
        steady = {meter.name: meter.steady for meter in self._meters}
        sampled = {meter.name for meter in self._meters if meter.is_sampled}
        found = []
        for key, last in after.items():
            first = self._before.get(key, last)
            name, quantity = key
            if quantity in steady.get(name, frozenset()):
                found.append(last)
            elif last.num_bytes is None or first.num_bytes is None:
                why = last.why_not or first.why_not
                found.append(Reading(name, quantity, None, why))
            else:
                found.append(Reading(name, f"{quantity}, before", first.num_bytes))
                found.append(Reading(name, f"{quantity}, after", last.num_bytes))
                if name in sampled:
                    peak = max(first.num_bytes, last.num_bytes, samples.peaks.get(key, 0))
                    found.append(Reading(name, f"{quantity}, {PEAK}", peak))
        return found

    def _left_out(self, samples: Samples | None) -> list[Reading]:
        """What was left out, and why."""
        left_out = [Reading(name, ALL, None, why) for name, why in self._failures.items()]
        left_out += self._list_reasons
        if samples is not None:
            rounds = "round" if samples.num_rounds == 1 else "rounds"
            why = (
                f"{samples.num_rounds} {rounds}, {samples.mean_ms:.1f} ms apart on average, "
                f"{samples.widest_ms:.1f} ms at most: a shorter peak can be missed"
            )
            left_out.append(Reading("sampler", "between samples", None, why))
        return left_out


def _covering_us(reading: Reading, held_bytes: int) -> Reading:
    if reading.num_bytes is None or reading.quantity not in _COVER_US:
        return reading
    reason = too_small(reading.num_bytes, held_bytes)
    return Reading(reading.meter, reading.quantity, None, reason) if reason else reading
