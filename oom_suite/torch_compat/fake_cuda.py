"""A CUDA device that is not there: fake tensors can be on it, in any build of torch.

Torch can place fake tensors on ``cuda`` without a GPU where it was built for one; it then asks a
guard that does nothing for the current device and its streams. A build for the CPU has that guard
too, and never installs it. Here it is installed, and torch is told that it was built for CUDA,
because its autograd looks for the streams of whatever accelerator it was built for.

Source: PyTorch 2.13 ``c10/core/impl/DeviceGuardImplInterface.cpp``
(``ensureCUDADeviceGuardSet``), ``aten/src/ATen/DeviceAccelerator.cpp`` (``getAccelerator``),
``torch/csrc/autograd/engine.cpp`` and ``input_buffer.cpp``; 2.11 is alike.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import torch

from oom_suite.torch_compat.probes import Name, TorchChangedError, needed

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = (
    Name("torch._C:_ensureCUDADeviceGuardSet", positional=0),
    Name("torch._C:_accelerator_getAccelerator", positional=0),
    Name("torch._subclasses.fake_tensor:init_gpu_context", positional=1),
    Name("torch._C:_has_cudnn"),
    Name("torch._C:_get_cudnn_enabled", positional=0),
    Name("torch._C:_set_cudnn_enabled", positional=1),
    Name("torch.cuda:_lazy_init", positional=0),
    Name("torch.cuda:_is_compiled", positional=0),
    Name("torch.cuda:_is_in_bad_fork", positional=0),
    Name("torch.cuda:_exchange_device", positional=1),
    Name("torch.cuda:_maybe_exchange_device", positional=1),
    Name("torch._C:_only_lift_cpu_tensors", positional=0),
    Name("torch._C:_set_only_lift_cpu_tensors", positional=1),
)
"""The names of torch behind this module."""

with needed("the shadow and prove lanes need", NAMES):
    from torch._subclasses import fake_tensor

PRIVATE_ANSWERS = {
    "_lazy_init": lambda: None,
    "_is_compiled": lambda: True,
    "_exchange_device": lambda _index: 0,
    "_maybe_exchange_device": lambda _index: 0,
}
"""What private functions of ``torch.cuda`` say where a device is believed in: it is device 0."""

_REGISTRY = "_ZN3c104impl26device_guard_impl_registryE"
"""``c10::impl::device_guard_impl_registry``: one pointer for each type of device."""

_HOOKS = "_ZN2at6detail12getCUDAHooksEv"
"""``at::detail::getCUDAHooks()``: a reference to the object that answers for CUDA."""

_CUDA: Final = 1
"""The number of the type of device.

Source: PyTorch 2.13 ``torch/headeronly/core/DeviceType.h``.
"""

_IS_BUILT, _HAS_CONTEXT = 2, 4
"""Places of ``isBuilt`` and ``hasPrimaryContext`` behind two destructors in the table of methods.

Source: PyTorch 2.11 and 2.13 ``aten/src/ATen/detail/AcceleratorHooksInterface.h``.
"""

_BEFORE_TABLE = 2
"""Words before the first method: the Itanium C++ ABI's offset and type information."""

_TABLE_WORDS = 128
"""More than the methods of the hooks; what is copied beyond them is never called."""

_method = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p)
_no = _method(lambda _self: 0)
_yes = _method(lambda _self: 1)


class _Depth:
    """How many lanes of this process are inside, on all threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.undo = contextlib.ExitStack()


_depth = _Depth()


@contextlib.contextmanager
def fake_cuda() -> Iterator[None]:
    """While active on any thread, fake tensors can be on ``cuda``, with and without a GPU.

    A fork of a process that has asked the driver for anything has no GPU: every call of CUDA's
    fails there.

    Literals of this thread are made as in `literals_made_on_host`.

    Raises:
        TorchChangedError: this build of torch cannot be told that it has such a device.
    """
    with _depth.lock:
        if _depth.count == 0 and (not _has_gpu() or torch.cuda._is_in_bad_fork()):
            _install(_depth.undo)
        _depth.count += 1
    try:
        with literals_made_on_host():
            yield
    finally:
        with _depth.lock:
            _depth.count -= 1
            if _depth.count == 0:
                _depth.undo.close()


@contextlib.contextmanager
def literals_made_on_host() -> Iterator[None]:
    """While active, this thread makes ``torch.tensor([...], device=...)`` on the CPU first.

    Dispatch then moves it: torch would otherwise do so where no mode looks. It does the same for
    its own fake tensors where a machine has no accelerator.
    """
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


@functools.cache
def _has_gpu() -> bool:
    """Whether torch itself can use a GPU here; asked once, before anything is patched."""
    return torch.cuda.is_available()


def _install(undo: contextlib.ExitStack) -> None:
    with contextlib.ExitStack() as failed:
        registry = (ctypes.c_void_p * (_CUDA + 1)).in_dll(_library("libc10"), _REGISTRY)
        failed.callback(registry.__setitem__, _CUDA, registry[_CUDA])
        if torch.cuda._is_in_bad_fork() or not registry[_CUDA]:
            registry[_CUDA] = ctypes.addressof(_without_devices()[0])
        torch._C._ensureCUDADeviceGuardSet()
        failed.callback(_answer_as_built())
        # Libraries of a build for GPUs would ask the driver for its version of a GPU.
        failed.callback(torch._C._set_cudnn_enabled, torch._C._get_cudnn_enabled())
        torch._C._set_cudnn_enabled(torch._C._get_cudnn_enabled() and not torch._C._has_cudnn)
        # A first fake on the device would ask the driver for a context.
        # A function: a mock would take longer than all else that makes a fake tensor does.
        failed.enter_context(mock.patch.object(fake_tensor, "init_gpu_context", _no_context))
        if str(torch._C._accelerator_getAccelerator()) != "cuda":
            raise TorchChangedError(
                f"torch {torch.__version__} cannot be told that it has a GPU, which the shadow "
                "and prove lanes need: install one of the versions that the suite knows"
            )
        undo.push(failed.pop_all())


def _no_context(_device: torch.device) -> None:
    """There is no driver to ask for a context."""


@functools.cache
def _without_devices() -> tuple[Any, Any]:
    """An object whose every method answers 0: a guard with no devices, which torch replaces."""
    table = _table([ctypes.cast(_no, ctypes.c_void_p).value] * _TABLE_WORDS)
    return (ctypes.c_void_p * _TABLE_WORDS)(ctypes.addressof(table)), table


def _answer_as_built() -> Any:
    """Let torch's hooks for CUDA say that it was built in and is in use; gives what undoes that."""
    get_hooks = getattr(_library("libtorch_cpu"), _HOOKS)
    get_hooks.restype = ctypes.c_void_p
    hooks = ctypes.c_void_p.from_address(get_hooks())
    before = hooks.value or 0
    hooks.value = ctypes.addressof(_methods(before)) + _BEFORE_TABLE * _WORD_BYTES
    return functools.partial(setattr, hooks, "value", before)


_WORD_BYTES: Final = ctypes.sizeof(ctypes.c_void_p)


@functools.cache
def _methods(before: int) -> Any:
    """A copy of the hooks' table of methods, two of them replaced."""
    words = (ctypes.c_void_p * _TABLE_WORDS).from_address(before - _BEFORE_TABLE * _WORD_BYTES)
    copy = _table(list(words))
    for place in (_IS_BUILT, _HAS_CONTEXT):
        copy[_BEFORE_TABLE + place] = ctypes.cast(_yes, ctypes.c_void_p).value
    return copy


def _table(words: list[int | None]) -> Any:
    return (ctypes.c_void_p * _TABLE_WORDS)(*words)


@functools.cache
def _library(name: str) -> ctypes.CDLL:
    """A library of torch's, loaded already."""
    for path in sorted((Path(torch.__file__).parent / "lib").glob(f"{name}.*")):
        with contextlib.suppress(OSError):
            return ctypes.CDLL(str(path))
    raise TorchChangedError(
        f"torch {torch.__version__} has no {name} in its folder, which the shadow and prove "
        "lanes need to place fake tensors on a GPU that is not there"
    )
