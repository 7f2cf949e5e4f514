"""What the measure lane asks of torch on a CUDA or HIP device: one thin call each, no thought."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.torch_compat import cuda_memory
from oom_suite.tracing.measure.device_history import MAX_ENTRIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class CudaDevice:
    """One device, and one stream of it that all calls of a lane share.

    Libraries keep a workspace for each stream: on one stream, what the warm-up made is there
    when the call runs.

    Args:
        device: with or without an index; without one, the current device.
    """

    def __init__(self, device: torch.device) -> None:
        """Start the driver, where nothing did so before."""
        torch.cuda.init()  # type: ignore[no-untyped-call]  # torch does not annotate it
        index = torch.cuda.current_device() if device.index is None else device.index
        self.device = torch.device("cuda", index)
        self._index = index
        self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]  # torch does not annotate it

    @property
    def workspace_name(self) -> str:
        """Whose workspaces `clear_workspaces` frees."""
        return "cuBLAS, cuBLASLt" if torch.version.hip is None else "hipBLAS, hipBLASLt"

    @contextlib.contextmanager
    def own_stream(self) -> Iterator[None]:
        """Runs what is inside on the lane's stream, of this device."""
        with torch.cuda.device(self.device), torch.cuda.stream(self._stream):
            yield

    @contextlib.contextmanager
    def own_pool(self) -> Iterator[bool]:
        """Serves what is inside from a pool that is empty; gives whether this torch has pools."""
        if not hasattr(torch.cuda, "MemPool"):
            yield False
            return
        pool = torch.cuda.MemPool()
        with torch.cuda.use_mem_pool(pool, device=self.device):
            yield True

    def settle(self) -> None:
        """Wait for the device, and give back what its allocator keeps unused."""
        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()

    def synchronize(self) -> None:
        """Wait for the device."""
        torch.cuda.synchronize(self.device)

    def reset_peaks(self) -> None:
        """Count the allocator's peaks from now on."""
        torch.cuda.reset_peak_memory_stats(self.device)

    def figures(self) -> Mapping[str, int]:
        """The allocator's counters, as ``torch.cuda.memory_stats`` names them."""
        stats: Mapping[str, int] = torch.cuda.memory_stats(self.device)
        return stats

    def start_history(self) -> None:
        """Record what the allocator does from now on, with the Python stacks of requests."""
        cuda_memory.start_history(MAX_ENTRIES)

    def history(self) -> Sequence[Mapping[str, Any]]:
        """What was recorded so far of this device."""
        traces: Sequence[Sequence[Mapping[str, Any]]] = cuda_memory.snapshot()["device_traces"]
        return traces[self._index]

    def stop_history(self) -> None:
        """Record no more, and forget what was recorded."""
        cuda_memory.stop_history()

    def clear_workspaces(self) -> None:
        """Free what cuBLAS and cuBLASLt (hipBLAS, hipBLASLt) keep for streams."""
        cuda_memory.clear_workspaces()
