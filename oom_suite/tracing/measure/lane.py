"""The measure lane: the code with real tensors, and what the machine says beside the trace."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import torch

from oom_suite.errors import LaneError
from oom_suite.records import Measurement, Trace
from oom_suite.tracing.measure.cpu_run import run_on_cpu
from oom_suite.tracing.measure.cuda_device import CudaDevice
from oom_suite.tracing.measure.environment import environment
from oom_suite.tracing.measure.gpu_run import run_on_gpu
from oom_suite.tracing.measure.headroom import headroom
from oom_suite.tracing.measure.out_of_memory import FailedCall
from oom_suite.tracing.source_lines import lines_under_test

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from oom_suite.records import Reading, Tenant
    from oom_suite.tracing.lane import Build

    MakeCall = Callable[[], Callable[[], object]]
    Around = Callable[..., AbstractContextManager[object]]


class Watched(Protocol):
    """What meters said when the call they watched was over."""

    @property
    def readings(self) -> tuple[Reading, ...]:
        """Their figures."""
        ...

    @property
    def tenants(self) -> tuple[Tenant, ...]:
        """Other processes that were on the device."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How scarce memory is made for the measured call.

    Attributes:
        free_bytes: what is left free; None for all there is.
        by: ``"ballast"`` or ``"limit"``.
        snapshot_folder: where the allocator's snapshot is kept when that was too little; None to
            keep none.
    """

    free_bytes: int | None = None
    by: str = "ballast"
    snapshot_folder: str | None = None


class MeasureLane:
    """Runs a call with real tensors on a CPU, CUDA or HIP device.

    The call runs twice: once to warm up (workspaces, caches, lazy initialisation), once
    recorded. On a GPU the trace is the allocator's own history, and its peaks stand beside it;
    on a CPU the trace comes from dispatch, and the process's resident peak stands beside it.
    A call that runs out of memory gives the trace up to there, and says so.

    **Does not prove:** that a CPU process's peak is the call's alone; other threads and the
    allocator's own slack are in it.
    """

    name = "measure"

    def __init__(
        self,
        root: Path,
        device: str,
        watch: Callable[[torch.device], AbstractContextManager[Watched]] | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Show source files relative to `root`; run on `device` (HIP devices are ``cuda``).

        Args:
            root: folder that source files are shown relative to.
            device: ``cpu``, ``cuda`` or ``cuda:1``.
            watch: meters that watch the measured call; None for none.
            limits: the memory that the call gets; None for all there is.

        Raises:
            LaneError: there is no such device.
        """
        self._lines = lines_under_test(root)
        self._device = _device(device)
        self._watch = watch
        self._limits = limits or Limits()
        self._gpu = None if self._device.type == "cpu" else CudaDevice(self._device)

    def run(self, build: Build, sizes: Mapping[str, int]) -> Trace:
        """The trace of one warmed-up call of ``build(sizes, device)``.

        Raises:
            LaneError: the headroom asked for cannot be left, or the history was cut short.
        """
        watched: list[Watched] = []

        @contextlib.contextmanager
        def around(*, is_measured: bool = True) -> Iterator[None]:
            with contextlib.ExitStack() as stack:
                if self._watch is not None and is_measured:
                    watched.append(stack.enter_context(self._watch(self._device)))
                limits = self._limits
                stack.enter_context(headroom(self._device, limits.free_bytes, limits.by))
                yield

        def make_call() -> Callable[[], object]:
            return build(sizes, self._device)

        failed = FailedCall(self._lines, self._limits.snapshot_folder)
        if self._gpu is None:
            trace = self._on_cpu(make_call, around, failed, sizes)
        else:
            trace = self._on_gpu(self._gpu, make_call, around, failed, sizes)
        measurement = trace.measurement
        assert measurement is not None
        seen = measurement.readings + tuple(r for each in watched for r in each.readings)
        tenants = tuple(tenant for each in watched for tenant in each.tenants)
        measurement = replace(
            measurement, readings=seen, tenants=tenants, out_of_memory=failed.found
        )
        return replace(trace, measurement=measurement)

    def _on_cpu(
        self, make_call: MakeCall, around: Around, failed: FailedCall, sizes: Mapping[str, int]
    ) -> Trace:
        recorder, resident = run_on_cpu(make_call, self._lines, around, failed)
        measurement = Measurement(environment(self._device), readings=(resident,))
        return recorder.trace(self.name, sizes, measurement)

    def _on_gpu(
        self,
        gpu: CudaDevice,
        make_call: MakeCall,
        around: Around,
        failed: FailedCall,
        sizes: Mapping[str, int],
    ) -> Trace:
        run = run_on_gpu(gpu, make_call, self._lines, around, failed)
        measurement = Measurement(environment(gpu.device), run.peaks, run.workspaces, run.readings)
        return Trace(
            lane=self.name,
            sizes=dict(sizes),
            allocations=run.history.allocations,
            events=run.history.events,
            input_bytes=run.input_bytes,
            measurement=measurement,
        )


def _device(text: str) -> torch.device:
    try:
        device = torch.device(text)
    except RuntimeError:
        msg = f"device {text!r} is not one that torch {torch.__version__} knows: try cpu or cuda"
        raise LaneError(msg) from None
    if device.type not in {"cpu", "cuda"}:
        msg = f"device {text!r} cannot be measured: choose cpu or cuda (HIP devices are cuda)"
        raise LaneError(msg)
    num_gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and num_gpus <= (device.index or 0):
        seen = f"{num_gpus} GPUs" if num_gpus else "no GPU"
        msg = f"device {text!r} was asked for, and torch {torch.__version__} sees {seen} here"
        raise LaneError(msg)
    if text == "cuda":
        # Some of torch's own functions refuse a device without its number.
        return torch.device("cuda", torch.cuda.current_device())
    return device
