"""Runs Triton kernels on a CPU, in Triton's interpreter, with its low-precision floats corrected.

The interpreter keeps bfloat16 as the integers that hold its bits, and fp8 likewise. It multiplies
and adds these integers, truncates where hardware rounds to nearest, and turns fp8's NaN into a
number. Here such operands go through float32 with torch's own conversions.

Source: Triton 3.9 ``triton/runtime/interpreter.py`` (``_get_np_dtype``, ``_convert_float``,
``InterpreterBuilder``); 3.6 is the same.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from oom_suite.errors import LaneError

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "TRITON_INTERPRET"


def interpret_triton() -> bool:
    """Make this process interpret the kernels that it loads from now on; False without Triton.

    For a process of its own: nothing is undone. Tensors say that they are not on the CPU, which
    host code of kernels asserts.

    Raises:
        LaneError: Triton was imported before, or its interpreter is another than this code knows.
    """
    if "triton" in sys.modules:
        raise LaneError("Triton was imported before its interpreter could be chosen")
    os.environ[VARIABLE] = "1"
    try:
        language: Any = importlib.import_module("triton.language")
        interpreter: Any = importlib.import_module("triton.runtime.interpreter")
    except ImportError:
        return False
    try:
        floats = _Floats(language)
        _correct_casts(interpreter.InterpreterBuilder, interpreter.TensorHandle, floats)
        _correct_arithmetic(interpreter.InterpreterBuilder, interpreter.TensorHandle, floats)
        _remember_builtins(interpreter, language)
    except AttributeError as error:
        msg = f"this Triton's interpreter is not as known ({error}): check on a GPU"
        raise LaneError(msg) from error
    torch.Tensor.is_cpu = property(lambda _: False)  # type: ignore[assignment]  # host code asserts it
    return True


def _remember_builtins(interpreter: Any, language: Any) -> None:
    """Look once for the operations that each call of a device function is given its own of.

    Triton looks through its whole language at every such call: a quarter of the time. Which names
    these are does not change; which of them have been replaced does, and is asked each time.
    """
    core = language.core
    known = {
        place: [name for name, member in inspect.getmembers(place) if core.is_builtin(member)]
        for place in (language, core, core.tensor, language.math)
    }
    patch = interpreter._patch_builtin

    def patch_builtin(place: Any, *rest: Any) -> None:
        if place not in known:
            patch(place, *rest)
            return
        for name in known[place]:
            member = getattr(place, name)
            if core.is_builtin(member):
                interpreter._patch_attr(place, name, member, *rest)

    interpreter._patch_builtin = patch_builtin


class _Floats:
    """The float formats that the interpreter holds as integers, by Triton's dtype."""

    def __init__(self, language: Any) -> None:
        self._known = {
            language.bfloat16: torch.bfloat16,
            language.float8e4nv: torch.float8_e4m3fn,
            language.float8e4b8: torch.float8_e4m3fnuz,
            language.float8e5: torch.float8_e5m2,
        }
        self._float32 = language.float32

    def holds(self, dtype: Any) -> bool:
        return dtype in self._known

    def widened(self, handle: Any, make: Callable[[Any, Any], Any]) -> Any:
        """The handle as float32; itself where it is of another type."""
        dtype = handle.dtype.scalar
        if dtype not in self._known:
            return handle
        bits = torch.from_numpy(np.ascontiguousarray(handle.data).view(_signed(handle.data)))
        values = bits.view(self._known[dtype]).to(torch.float32).numpy()
        return make(values.reshape(handle.data.shape), self._float32)

    def narrowed(self, values: np.ndarray[Any, Any], dtype: Any) -> np.ndarray[Any, Any]:
        """Float32 values as the integers of that type, rounded to nearest even."""
        contiguous = np.ascontiguousarray(values, dtype=np.float32)
        narrow = torch.from_numpy(contiguous).to(self._known[dtype])
        integer = torch.int16 if narrow.element_size() > 1 else torch.uint8
        bits = narrow.view(integer).numpy().reshape(np.shape(values))
        return bits.view(np.uint16) if integer is torch.int16 else bits


def _signed(data: np.ndarray[Any, Any]) -> type[np.generic]:
    return np.int16 if data.dtype.itemsize > 1 else np.uint8


def _correct_casts(builder: Any, handle: Any, floats: _Floats) -> None:
    cast = builder.cast_impl

    def cast_impl(self: Any, src: Any, dst_type: Any) -> Any:
        wide, dtype = floats.widened(src, handle), dst_type.scalar
        if not floats.holds(dtype):
            return wide if wide.dtype.scalar == dtype else cast(self, wide, dst_type)
        return handle(floats.narrowed(wide.data, dtype), dtype)

    def create_fp_to_fp(self: Any, src: Any, dst_type: Any, rounding_mode: Any) -> Any:
        del rounding_mode  # to nearest even is the default, and all that decode kernels use
        return cast_impl(self, src, dst_type)

    builder.cast_impl, builder.create_fp_to_fp = cast_impl, create_fp_to_fp


def _correct_arithmetic(builder: Any, handle: Any, floats: _Floats) -> None:
    binary, unary, dot = builder.binary_op, builder.unary_op, builder.create_dot

    def narrowed(result: Any, dtype: Any) -> Any:
        # A comparison gives truth values, whatever it compared.
        if result.data.dtype == np.bool_:
            return result
        return handle(floats.narrowed(result.data, dtype), dtype)

    def binary_op(self: Any, lhs: Any, rhs: Any, op: Any) -> Any:
        dtype = lhs.dtype.scalar
        result = binary(self, floats.widened(lhs, handle), floats.widened(rhs, handle), op)
        return narrowed(result, dtype) if floats.holds(dtype) else result

    def unary_op(self: Any, arg: Any, op: Any) -> Any:
        dtype = arg.dtype.scalar
        result = unary(self, floats.widened(arg, handle), op)
        return narrowed(result, dtype) if floats.holds(dtype) else result

    def create_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return dot(self, floats.widened(a, handle), floats.widened(b, handle), *rest)

    builder.binary_op, builder.unary_op, builder.create_dot = binary_op, unary_op, create_dot
