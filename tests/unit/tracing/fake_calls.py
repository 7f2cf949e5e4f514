"""Calls of operators on fake tensors: as data, drawn at random, and what a mode answers to them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from hypothesis import strategies as st

from oom_suite.torch_compat.dispatch import schema_of
from oom_suite.torch_compat.fake_cuda import fake_cuda
from oom_suite.tracing.shadow_device import shadow_device

aten = torch.ops.aten
F32, F64, BF16, C64 = torch.float32, torch.float64, torch.bfloat16, torch.complex64
I32, I64, U8, BOOL = torch.int32, torch.int64, torch.uint8, torch.bool


@dataclass(frozen=True)
class Fake:
    """A tensor, to be made in a mode.

    Attributes:
        size: its shape.
        stride: its strides; None for those of a contiguous tensor.
        offset: where it begins in its storage.
        num_stored: entries that its storage has, or more where the tensor ends behind them.
        dtype: of its entries.
        device: ``"cpu"`` or ``"shadow"``.
        layout: a sparse one has size, dtype and device alone.
        needs_grad: whether it is a leaf that gathers gradients.
        of_inference: whether it is made in inference mode.
    """

    size: tuple[int, ...] = (2, 3)
    stride: tuple[int, ...] | None = None
    offset: int = 0
    num_stored: int = 24
    dtype: torch.dtype = F32
    device: str = "cpu"
    layout: torch.layout = torch.strided
    needs_grad: bool = False
    of_inference: bool = False

    def made(self):
        """The tensor, of the mode that is active."""
        device = shadow_device() if self.device == "shadow" else torch.device(self.device)
        if self.layout is not torch.strided:
            return torch.empty(self.size, dtype=self.dtype, device=device, layout=self.layout)
        steps = torch.empty(self.size, device="meta").stride()
        stride = self.stride if self.stride and len(self.stride) == len(self.size) else steps
        last = sum((n - 1) * step for n, step in zip(self.size, stride, strict=True))
        used = 0 if 0 in self.size else last + 1
        num_stored = max(self.num_stored, self.offset + used)
        with torch.inference_mode(self.of_inference):
            stored = torch.empty(num_stored, dtype=self.dtype, device=device)
            tensor = stored.as_strided(self.size, stride, self.offset)
        is_leaf = self.needs_grad and not self.of_inference
        may = self.dtype.is_floating_point or self.dtype.is_complex
        return tensor.requires_grad_() if is_leaf and may else tensor


@dataclass(frozen=True)
class Call:
    """An operator with its arguments, and what is set around it."""

    op: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    default_dtype: torch.dtype = F32
    around: str = "enable_grad"


def answer(mode, call):
    """All that can be seen of a call's results in a mode, and of its arguments after it."""
    before = torch.get_default_dtype()
    with contextlib.ExitStack() as undo:
        undo.enter_context(fake_cuda())
        undo.enter_context(mode)
        undo.callback(torch.set_default_dtype, before)
        given, named = changed(Fake.made, Fake, (call.args, call.kwargs))
        torch.set_default_dtype(call.default_dtype)
        undo.enter_context(getattr(torch, call.around)())
        try:
            result = call.op(*given, **named)
        except Exception as error:
            return type(error), str(error).splitlines()[:1]
        leaves = items(torch.Tensor, (given, named))
        return shape_of(result), [
            seen(one, leaves) for one in items(torch.Tensor, (result, leaves))
        ]


def shape_of(result):
    """The types of a result and of what is in it."""
    is_many = isinstance(result, list | tuple)
    return type(result), [type(one) for one in result] if is_many else []


def seen(tensor, arguments):
    """What a fake tensor shows of itself, and which argument it is, or shares the storage of."""
    facts = (tuple(tensor.shape), tensor.dtype, tensor.fake_device, tensor.layout)
    flags = (tensor.requires_grad, tensor.is_inference(), tensor.is_conj(), tensor.is_neg())
    same = next((n for n, one in enumerate(arguments) if one is tensor), None)
    if tensor.layout is not torch.strided:
        return (*facts, *flags, same)
    storage = tensor.untyped_storage()
    dense = [one.layout is torch.strided and one.untyped_storage() for one in arguments]
    owner = next((n for n, one in enumerate(dense) if one and one._cdata == storage._cdata), None)
    placed = (tensor.stride(), tensor.storage_offset(), storage.nbytes())
    return (*facts, *flags, *placed, owner, same)


def items(kind, value):
    """Everything of a type in nested lists, tuples and dicts, in order."""
    if isinstance(value, kind):
        return [value]
    inner = value.values() if isinstance(value, dict) else value
    is_nest = isinstance(value, list | tuple | dict)
    return [one for part in inner for one in items(kind, part)] if is_nest else []


def changed(change, kind, value):
    """The same nest with everything of a type changed."""
    if isinstance(value, kind) and not isinstance(value, list | tuple | dict):
        return change(value)
    if isinstance(value, dict):
        return {name: changed(change, kind, one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(changed(change, kind, one) for one in value)
    return value


NUMBERS = (0, 1, 2, 0.0, 1.0, 2.0, True, False, 1 + 0j, None)
DTYPES = (F32, F64, BF16, C64, I32, I64, U8, BOOL)
SIZES = ((2, 3), (3, 2), (3, 3), (2, 2), (3,), (2,), (1, 3), (2, 1, 3), (0, 3), ())


def tensors(*sizes):
    """Fakes of one of these sizes, most of them plain ones on one device."""
    return st.builds(
        Fake,
        size=st.sampled_from(sizes or SIZES),
        stride=st.none() | st.sampled_from([(1, 2), (1, 3), (4, 1), (0, 1), (2,), (0,), (1, 1)]),
        offset=st.sampled_from([0, 0, 0, 1, 4]),
        num_stored=st.sampled_from([0, 24, 24, 30]),
        dtype=st.sampled_from([F32, F32, *DTYPES]),
        device=st.sampled_from(["shadow", "shadow", "shadow", "cpu"]),
        layout=st.sampled_from([*[torch.strided] * 9, torch.sparse_coo]),
        needs_grad=st.sampled_from([False, False, True]),
        of_inference=st.sampled_from([False, False, False, True]),
    )


fakes, squares, rows = tensors(), tensors((3, 3), (2, 2)), tensors((3,), (2,))
whole = tensors((2,), (1,)).map(lambda fake: replace(fake, dtype=I64))
masks = tensors().map(lambda fake: replace(fake, dtype=BOOL))
numbers = st.sampled_from(NUMBERS)
dims = st.sampled_from([0, 0, -1, -1, 1, 2])
sizes = st.sampled_from(SIZES).map(list)
flags = st.booleans()
types = st.sampled_from([None, *DTYPES])
formats = st.sampled_from([None, torch.contiguous_format, torch.preserve_format])

OPERATORS = {
    aten.add.Tensor: st.tuples(fakes, fakes),
    aten.mul.Scalar: st.tuples(fakes, numbers),
    aten.add.Scalar: st.tuples(fakes, numbers),
    aten.pow.Tensor_Scalar: st.tuples(fakes, numbers),
    aten.div.Tensor: st.tuples(fakes, fakes),
    aten.where.ScalarOther: st.tuples(masks, fakes, numbers),
    aten.clamp.default: st.tuples(fakes, numbers, numbers),
    aten.sum.dim_IntList: st.tuples(fakes, st.none() | st.lists(dims, max_size=2), flags),
    aten.amax.default: st.tuples(fakes, st.lists(dims, max_size=2), flags),
    aten.argmax.default: st.tuples(fakes, st.none() | dims, flags),
    aten.sort.default: st.tuples(fakes, dims, flags),
    aten.topk.default: st.tuples(fakes, st.integers(0, 3), dims, flags),
    aten.full.default: st.tuples(sizes, numbers),
    aten.new_full.default: st.tuples(fakes, sizes, numbers),
    aten.arange.default: st.tuples(numbers),
    aten.empty_like.default: st.tuples(fakes),
    aten._to_copy.default: st.tuples(fakes),
    aten.clone.default: st.tuples(fakes),
    aten.view.default: st.tuples(fakes, sizes),
    aten.reshape.default: st.tuples(fakes, sizes),
    aten.expand.default: st.tuples(fakes, sizes),
    aten.as_strided.default: st.tuples(fakes, sizes, sizes, st.sampled_from([None, 0, 1])),
    aten.slice.Tensor: st.tuples(fakes, dims, st.none() | dims, st.none() | dims),
    aten.select.int: st.tuples(fakes, dims, dims),
    aten.permute.default: st.tuples(fakes, st.lists(dims, max_size=3)),
    aten.transpose.int: st.tuples(fakes, dims, dims),
    aten.split.Tensor: st.tuples(fakes, st.integers(1, 3), dims),
    aten.unbind.int: st.tuples(fakes, dims),
    aten.roll.default: st.tuples(fakes, st.lists(dims, max_size=2), st.lists(dims, max_size=2)),
    aten.cat.default: st.tuples(st.lists(fakes, min_size=1, max_size=3), dims),
    aten.stack.default: st.tuples(st.lists(fakes, min_size=1, max_size=2), dims),
    aten.index.Tensor: st.tuples(fakes, st.lists(st.none() | whole, min_size=1, max_size=2)),
    aten.bucketize.Tensor: st.tuples(fakes, rows),
    aten.mm.default: st.tuples(squares, squares),
    aten.matmul.default: st.tuples(squares, squares),
    aten.detach.default: st.tuples(fakes),
    aten.mul_.Tensor: st.tuples(fakes, fakes),
    aten.add_.Scalar: st.tuples(fakes, numbers),
    aten.fill_.Scalar: st.tuples(fakes, numbers),
    aten.copy_.default: st.tuples(fakes, fakes),
    aten.index_put_.default: st.tuples(fakes, st.lists(whole, min_size=1, max_size=1), rows),
}  # fmt: skip
AROUND = ("enable_grad", "no_grad", "inference_mode")
KEYWORDS = {
    "dtype": types,
    "device": st.sampled_from([None, torch.device("cpu"), shadow_device()]),
    "layout": st.sampled_from([None, torch.strided, torch.sparse_coo]),
    "memory_format": formats,
    "alpha": numbers,
    "out_int32": flags,
    "right": flags,
}


@st.composite
def calls(draw):
    """Any call of one of `OPERATORS`, often one that torch refuses."""
    op = draw(st.sampled_from(list(OPERATORS)))
    args = draw(OPERATORS[op])
    named = [one.name for one in schema_of(op).arguments if one.name in KEYWORDS]
    chosen = draw(st.lists(st.sampled_from(named), unique=True)) if named else []
    return Call(
        op,
        args,
        {name: draw(KEYWORDS[name]) for name in chosen},
        draw(st.sampled_from([F32, F32, F64])),
        draw(st.sampled_from(AROUND)),
    )


@st.composite
def pairs(draw):
    """Two calls that differ in one thing, sometimes in two."""
    first = second = draw(calls())
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
        second = draw(st.sampled_from(CHANGES))(draw, second)
    return draw(st.sampled_from([(first, second), (second, first)]))


def other_tensor(draw, call):
    """One tensor differs in one attribute."""
    known = items(Fake, (call.args, call.kwargs))
    if not known:
        return call
    chosen, another = draw(st.sampled_from(known)), draw(fakes)
    name = draw(st.sampled_from(list(Fake.__dataclass_fields__)))
    new = replace(chosen, **{name: getattr(another, name)})
    args, kwargs = changed(
        lambda one: new if one is chosen else one, Fake, (call.args, call.kwargs)
    )
    return replace(call, args=args, kwargs=kwargs)


def other_number(draw, call):
    """One number is another, or the same one of another type."""
    places = [n for n, one in enumerate(call.args) if not isinstance(one, Fake | list)]
    if not places:
        return call
    place = draw(st.sampled_from(places))
    old = call.args[place]
    others = [one for one in NUMBERS if one == old and type(one) is not type(old)]
    number = draw(st.sampled_from(others) | numbers if others else numbers)
    return replace(call, args=(*call.args[:place], number, *call.args[place + 1 :]))


def other_list(draw, call):
    """One list is another, often longer or shorter."""
    places = [n for n, one in enumerate(call.args) if isinstance(one, list)]
    if not places:
        return call
    place = draw(st.sampled_from(places))
    old = call.args[place]
    of_tensors = st.sampled_from([[*old, draw(fakes)], old[:-1]])
    new = draw(of_tensors if items(Fake, old) else sizes)
    return replace(call, args=(*call.args[:place], new, *call.args[place + 1 :]))


def other_keywords(draw, call):
    """Other arguments are given by name, or the same values by other names."""
    named = [one.name for one in schema_of(call.op).arguments if one.name in KEYWORDS]
    if not named:
        return call
    name = draw(st.sampled_from(named))
    value = draw(KEYWORDS[name] | st.sampled_from([*call.kwargs.values(), None]))
    return replace(call, kwargs={name: value})


def by_name(draw, call):
    """The last arguments are given by name, as often as not in another order."""
    if not call.args:
        return call
    kept = draw(st.integers(0, len(call.args) - 1))
    names = [one.name for one in schema_of(call.op).arguments]
    moved = dict(draw(st.permutations(list(zip(names, call.args, strict=False))[kept:])))
    return replace(call, args=call.args[:kept], kwargs={**moved, **call.kwargs})


def other_operator(draw, call):
    """Another operator is called with the same arguments."""
    return replace(call, op=draw(st.sampled_from(list(OPERATORS))))


def other_surroundings(draw, call):
    """torch's default dtype is another, or whether gradients are kept."""
    if draw(st.booleans()):
        return replace(call, around=draw(st.sampled_from(AROUND)))
    return replace(call, default_dtype=F64 if call.default_dtype is F32 else F32)


CHANGES = (
    *(other_tensor,) * 4,
    *(other_number,) * 2,
    other_list,
    other_keywords,
    by_name,
    other_operator,
    other_surroundings,
)
