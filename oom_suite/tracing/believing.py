"""Lets code believe in its target: every question about the device is answered as it would be."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.torch_compat.dispatch import no_dispatch
from oom_suite.torch_compat.fake_cuda import PRIVATE_ANSWERS, fake_cuda
from oom_suite.torch_compat.fakes import public_type
from oom_suite.torch_compat.jiterator import JittedFunction
from oom_suite.tracing.believed_objects import Event, FakeOfTorch, Generator, Stream
from oom_suite.tracing.jitted import results_of_jitted
from oom_suite.tracing.lazy_modules import lazy_fakes
from oom_suite.tracing.pinned_literals import pinning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oom_suite.targets.target import Target

_ZERO_BYTES = (
    "max_memory_allocated",
    "max_memory_cached",
    "max_memory_reserved",
    "memory_allocated",
    "memory_cached",
    "memory_reserved",
)
_NOTHING = (
    "empty_cache",
    "empty_host_cache",
    "init",
    "ipc_collect",
    "reset_accumulated_memory_stats",
    "reset_max_memory_allocated",
    "reset_max_memory_cached",
    "reset_peak_memory_stats",
    "set_device",
    "set_per_process_memory_fraction",
    "synchronize",
)
_ABSENT = object()
_RNG_STATE_BYTES = 16
"""A seed and an offset, on the host.

Source: PyTorch 2.13 ``aten/src/ATen/cuda/CUDAGeneratorImpl.cpp``, ``get_state``.
"""
_MODULES = (
    torch.cuda.memory,
    torch.cuda.random,
    torch.cuda.streams,
    torch.accelerator,
    torch.accelerator.memory,
)
"""Modules that have the same names as ``torch.cuda``, some of them imported from there."""

_RANGES = ("mark", "range_end", "range_pop", "range_push", "range_start")


@dataclass(frozen=True)
class Properties:
    """What `torch.cuda.get_device_properties` gives.

    Source: PyTorch 2.13 ``torch/csrc/cuda/Module.cpp``, ``_CudaDeviceProperties``; CUDA's
    ``gcnArchName`` is the device's name.
    """

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    warp_size: int
    max_threads_per_multi_processor: int
    max_threads_per_block: int
    regs_per_multiprocessor: int
    shared_memory_per_block: int
    shared_memory_per_block_optin: int
    shared_memory_per_multiprocessor: int
    L2_cache_size: int
    gcnArchName: str  # torch's own spelling
    is_integrated: int = 0
    is_multi_gpu_board: int = 0
    pci_bus_id: int = 0
    pci_device_id: int = 0
    pci_domain_id: int = 0
    uuid: str = "00000000-0000-0000-0000-000000000000"


@contextlib.contextmanager
def believing(target: Target) -> Iterator[None]:
    """While active, in this process and on all its threads, torch answers as on the target.

    Tensors that are made on ``cuda`` have to be fake. Lanes that run real tensors never enter it.
    May be entered again inside, and on any thread.

    **Does not prove:** what is asked elsewhere than of torch: of the driver, of a vendor's
    library, of an environment variable.
    """
    with contextlib.ExitStack() as undo:
        undo.enter_context(public_type(FakeOfTorch))
        undo.enter_context(lazy_fakes())
        if target.backend == "cpu":
            _patch(undo, torch.cuda, {"is_available": lambda: False, "device_count": lambda: 0})
        else:
            undo.enter_context(fake_cuda())
            _believe(undo, target)
        yield


def properties(target: Target) -> Properties:
    """What torch would say of the target's device."""
    major, minor = target.capability
    return Properties(
        name=target.device_name,
        major=major,
        minor=minor,
        total_memory=target.memory_bytes,
        multi_processor_count=target.num_multiprocessors,
        warp_size=target.warp_size,
        max_threads_per_multi_processor=target.max_threads_per_multiprocessor,
        max_threads_per_block=target.max_threads_per_block,
        regs_per_multiprocessor=target.registers_per_multiprocessor,
        shared_memory_per_block=target.shared_bytes_per_block,
        shared_memory_per_block_optin=target.shared_bytes_optin,
        shared_memory_per_multiprocessor=target.shared_bytes_per_multiprocessor,
        L2_cache_size=target.l2_bytes,
        gcnArchName=target.arch if target.backend == "rocm" else target.device_name,
    )


def _believe(undo: contextlib.ExitStack, target: Target) -> None:
    device = {**_of_device(target), **_of_memory(target), **_of_streams(), **PRIVATE_ANSWERS}
    _patch(undo, torch.cuda, {**device, "default_generators": (Generator("cuda"),)})
    for module in _MODULES:
        _patch(undo, module, device)
    _patch(undo, torch.cuda.nvtx, dict.fromkeys(_RANGES, _nothing))
    _patch(undo, torch, {"Generator": Generator, "tensor": pinning(torch.tensor)})
    _patch(undo, JittedFunction, {"__call__": results_of_jitted})
    is_cuda = target.backend == "cuda"
    _patch(
        undo,
        torch.version,
        {
            "cuda": (torch.version.cuda or target.toolkit_version) if is_cuda else None,
            "hip": None if is_cuda else torch.version.hip or target.toolkit_version,
        },
    )
    _patch(undo, torch.backends.cuda, {"is_built": lambda: True})
    library = {
        "is_available": lambda: True,
        "version": lambda: target.dnn_version,
        # A library that is believed in has no kernels: torch's own are taken.
        "is_acceptable": lambda _tensor: False,
    }
    _patch(undo, torch.backends.cudnn, library)


def _patch(undo: contextlib.ExitStack, module: Any, answers: dict[str, Any]) -> None:
    """Replace what a module has of these names.

    Each run does this for more than a hundred: `unittest.mock` takes five times as long.
    """
    own = vars(module)
    kept = {name: own.get(name, _ABSENT) for name in answers if hasattr(module, name)}
    undo.callback(_put_back, module, kept)
    for name in kept:
        setattr(module, name, answers[name])


def _put_back(module: Any, kept: dict[str, Any]) -> None:
    """Give a module what it had; what it had from elsewhere, its own `__getattr__` say, it has."""
    for name, answer in kept.items():
        if answer is _ABSENT:
            delattr(module, name)
        else:
            setattr(module, name, answer)


def _of_device(target: Target) -> dict[str, Any]:
    found = properties(target)
    return {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "current_device_index": lambda: 0,
        "current_device_idx": lambda: 0,
        "get_arch_list": lambda: [target.arch] if target.arch else [],
        "get_device_properties": lambda _device=None: found,
        "is_current_stream_capturing": lambda: False,
        "get_rng_state": _rng_state,
        "get_rng_state_all": lambda: [_rng_state()],
        "set_rng_state": _nothing,
        "set_rng_state_all": _nothing,
        **dict.fromkeys(_NOTHING, _nothing),
    }


def _of_memory(target: Target) -> dict[str, Any]:
    def mem_get_info(_device: object = None) -> tuple[int, int]:
        return target.memory_bytes, target.memory_bytes

    return {
        "mem_get_info": mem_get_info,
        "get_memory_info": mem_get_info,
        "memory_stats": lambda _device=None: defaultdict(int),
        "memory_summary": lambda *_, **__: "",
        "get_per_process_memory_fraction": lambda _device=None: 1.0,
        **dict.fromkeys(_ZERO_BYTES, lambda _device=None: 0),
    }


def _of_streams() -> dict[str, Any]:
    """Streams that hold no work; which one is current is remembered."""
    current = Stream()

    def current_stream(_device: object = None) -> Any:
        return current

    def set_stream(stream: Any) -> None:
        nonlocal current
        if stream is not None:
            current = stream

    return {
        "Stream": Stream,
        "Event": Event,
        "current_stream": current_stream,
        "default_stream": lambda _device=None: Stream(),
        "set_stream": set_stream,
    }


def _rng_state(_device: object = None) -> torch.Tensor:
    """The state of a device's random numbers: nothing is drawn where there is no memory."""
    with no_dispatch():
        return torch.zeros(_RNG_STATE_BYTES, dtype=torch.uint8)


def _nothing(*_: object, **__: object) -> None:
    """What waits for the device, or tells it something."""
