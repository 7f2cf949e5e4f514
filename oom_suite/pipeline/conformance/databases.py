"""The cases of torch's operator database and of its module database."""

from __future__ import annotations

import functools
import itertools
import random
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

from oom_suite.errors import LaneError
from oom_suite.pipeline.conformance.cases import Case, short
from oom_suite.pipeline.conformance.training import trained
from oom_suite.torch_compat.sample_databases import module_db, op_db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from oom_suite.pipeline.conformance.cases import Cases, Unit

DTYPES = (
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.int64,
    torch.int32,
    torch.bool,
)
"""The types that serving and training use."""

NUM_LOOKED_AT = 62
"""Samples of an operator that are looked at; some have thousands."""

NUM_SAMPLES = 3
"""Samples of an operator and a type that are run: those with the most elements."""

NUM_MODULE_INPUTS = 2
_MODULE_DTYPES = (torch.float32, torch.bfloat16)


def _operator_name(op: Any) -> str:
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else str(op.name)


def operator_dtypes(device_type: str) -> dict[str, tuple[str, ...]]:
    """Every operator with the types of `DTYPES` that it takes on a type of device.

    torch asks the device itself for some of them: a process that sees none has another answer.
    """
    return {
        name: tuple(short(dtype) for dtype in DTYPES if dtype in op.supported_dtypes(device_type))
        for name, op in _BY_NAME.items()
    }


def _operator_cases(op: Any, unit: Unit) -> Iterator[Case]:
    for name in unit.dtypes:
        dtype = getattr(torch, name)
        torch.manual_seed(0)
        random.seed(0)
        samples = _samples(op, dtype)
        largest = sorted(range(len(samples)), key=lambda n: -_num_elements(samples[n]))
        for number in largest[:NUM_SAMPLES]:
            build = functools.partial(_operator_build, op, samples[number])
            yield Case(f"{short(dtype)} sample {number}", build)


def _samples(op: Any, dtype: torch.dtype) -> list[Any]:
    """Those that can be made; torch's makers do not all know every type that an operator takes."""
    found: list[Any] = []
    try:
        # Where there is a GPU, torch makes more of them: both sides have to make the same.
        with mock.patch.object(torch.cuda, "is_available", return_value=False):
            for sample in itertools.islice(op.sample_inputs("cpu", dtype), NUM_LOOKED_AT):
                found.append(sample)
    except Exception:
        return found
    return found


def _num_elements(sample: Any) -> int:
    return sum(t.numel() for t in _leaves((sample.input, sample.args, sample.kwargs)))


def _leaves(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, dict):
        yield from _leaves(list(value.values()))


def _operator_build(
    op: Any, sample: Any, sizes: Mapping[str, int], device: torch.device
) -> Callable[[], object]:
    """The call on a device's copies of a sample's tensors, laid out as they are."""
    del sizes
    first, args, kwargs = moved((sample.input, sample.args, sample.kwargs), device)
    return lambda: op(first, *args, **kwargs)


def moved(value: Any, device: torch.device) -> Any:
    """The same value with copies of its tensors, and with its device, on another device."""
    if isinstance(value, torch.Tensor):
        return _moved_tensor(value, device)
    if isinstance(value, torch.device) or value == "cpu":
        return device
    if isinstance(value, dict):
        return {name: moved(item, device) for name, item in value.items()}
    if type(value) in {tuple, list}:
        return type(value)(moved(item, device) for item in value)
    return value


def _moved_tensor(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    if tensor.layout is not torch.strided or tensor.is_contiguous() or tensor.numel() == 0:
        return tensor.detach().to(device, copy=True)
    # A copy would be laid out anew: what an operator asks for may depend on the strides.
    extent = 1 + sum(
        (size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True)
    )
    flat = tensor.detach().as_strided((extent,), (1,)).to(device, copy=True)
    return flat.as_strided(tensor.shape, tensor.stride())


def _no_inputs(error: Exception, *_: object, **__: object) -> Any:
    """A call without inputs, which neither side can make.

    Raises:
        LaneError: always; it has the reason that torch gave.
    """
    raise LaneError(f"torch makes no inputs of this type: {error}")


def _module_cases(info: Any, unit: Unit) -> Iterator[Case]:
    del unit
    for dtype in _MODULE_DTYPES:
        for step in ("forward", "training"):
            is_training = step == "training"
            try:
                inputs = _module_inputs(info, torch.device("cpu"), dtype, is_training=is_training)
            except Exception as error:
                # torch's own maker of inputs does not know this type: a row says so.
                yield Case(f"{short(dtype)} {step}", functools.partial(_no_inputs, error))
                continue
            order = sorted(range(len(inputs)), key=lambda n: -_module_elements(inputs[n]))
            for number in order[:NUM_MODULE_INPUTS]:
                build = functools.partial(_module_build, info, dtype, number, is_training)
                yield Case(f"{short(dtype)} {step} input {number}", build)


def _module_inputs(
    info: Any, device: torch.device, dtype: torch.dtype, *, is_training: bool
) -> list[Any]:
    torch.manual_seed(0)
    inputs = info.module_inputs_func(
        info, device=device, dtype=dtype, requires_grad=is_training, training=is_training
    )
    return [each for each in inputs if each.forward_input is not None]


def _module_elements(given: Any) -> int:
    taken = given.forward_input
    return sum(t.numel() for t in _leaves((taken.args, taken.kwargs)))


def _module_build(
    info: Any,
    dtype: torch.dtype,
    number: int,
    is_training: bool,
    sizes: Mapping[str, int],
    device: torch.device,
) -> Callable[[], object]:
    """The module made on a device, and its call with inputs that are made there."""
    del sizes
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            given = _module_inputs(info, device, dtype, is_training=is_training)[number]
            made = given.constructor_input
            module = info.module_cls(*made.args, **made.kwargs)
    finally:
        torch.set_default_dtype(before)
    module.train(is_training)
    args, kwargs = given.forward_input.args, given.forward_input.kwargs

    def forward() -> object:
        with torch.no_grad():
            return module(*args, **kwargs)

    return (lambda: trained(module(*args, **kwargs))) if is_training else forward


_BY_NAME: dict[str, Any] = {}
for _op in op_db:
    _BY_NAME.setdefault(_operator_name(_op), _op)

OPERATORS: Mapping[str, Cases] = {
    name: functools.partial(_operator_cases, op) for name, op in _BY_NAME.items()
}
"""Every operator of the database, by its name and its variant's."""

MODULES: Mapping[str, Cases] = {
    info.name: functools.partial(_module_cases, info) for info in module_db
}
"""Every module of the database."""
