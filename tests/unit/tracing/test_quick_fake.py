"""What the quick fake mode remembers is what torch's own fake mode would say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from oom_suite.operators.operands import DEVICE_QUERY
from oom_suite.tracing import quick_fake, shadow
from oom_suite.tracing.fake_mode import LaneFakeMode
from oom_suite.tracing.quick_fake import QuickFakeMode
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.workloads.sparse_mla.builtins import BUILTINS
from oom_suite.workloads.sparse_mla.geometry.scenarios import SMALL
from oom_suite.workloads.sparse_mla.step import build, build_swa_only

F32, I64 = torch.float32, torch.int64


def empty(*shape, dtype=F32):
    return torch.empty(shape, dtype=dtype)


CALLS = {
    "broadcast": (lambda a, b: a + b, (4, 1), (3,)),
    "int-times-float": (lambda a: a.to(I64) * 1.5, (4,)),
    "int-times-int": (lambda a: a.to(I64) * 1, (4,)),
    "int-times-bool": (lambda a: a.to(I64) * True, (4,)),
    "view": (lambda a: a.view(2, 6), (3, 4)),
    "transposed": (lambda a: a.t().contiguous(), (3, 4)),
    "slice-of-slice": (lambda a: a[1:, ::2][:, 1:], (3, 8)),
    "expanded": (lambda a: a.expand(5, 4), (1, 4)),
    "as-strided": (lambda a: a.as_strided((2, 2), (3, 1), 1), (9,)),
    "view-as-bytes": (lambda a: a.view(torch.uint8), (3, 4)),
    "reshape-that-copies": (lambda a: a.t().reshape(12), (3, 4)),
    "reshape-that-does-not": (lambda a: a.reshape(12), (3, 4)),
    "two-results": (lambda a: a.sort(dim=-1), (3, 4)),
    "list-of-views": (lambda a: a.split(2), (5, 4)),
    "unbound": (lambda a: a.unbind(0), (3, 4)),
    "in-place": (lambda a: a.mul_(2.0), (3, 4)),
    "in-place-on-a-view": (lambda a: a[1:].add_(1), (3, 4)),
    "in-place-view": (lambda a: a.t_(), (3, 4)),
    "unsqueezed-in-place": (lambda a: a.unsqueeze_(0), (3, 4)),
    "grown": (lambda a: a.resize_(20), (3, 4)),
    "set": (lambda a, b: a.set_(b), (3, 4), (5,)),
    "into-out": (lambda a, b: torch.add(a, 1.0, out=b), (3,), (3,)),
    "into-out-that-grows": (lambda a, b: torch.add(a, 1.0, out=b), (3,), (0,)),
    "by-indices": (lambda a: a[torch.zeros(7, dtype=I64)], (5, 2)),
    "by-indices-put": (lambda a: a.index_put_((torch.zeros(2, dtype=I64),), a[0]), (5, 2)),
    "matrix-product": (lambda a, b: torch.addmm(b, a, a.t()), (3, 4), (3,)),
    "batched-product": (lambda a: torch.bmm(a, a.transpose(1, 2)), (2, 3, 4)),
    "reduced": (lambda a: a.amax(dim=-1, keepdim=True), (3, 4)),
    "copied": (lambda a: a.to(torch.bfloat16), (3, 4)),
    "not-copied": (lambda a: a.to(F32), (3, 4)),
    "like-it": (lambda a: torch.empty_like(a.t()), (3, 4)),
    "of-its-kind": (lambda a: a.new_zeros(2, 2), (3,)),
    "nothing": (lambda a: a[:0].sum(0), (3, 4)),
    "complex": (lambda a: torch.complex(a, a).conj() + 1, (3,)),
    "concatenated": (lambda a, b: torch.cat([a, b]), (3, 2), (4, 2)),
    "channels-last": (lambda a: a.to(memory_format=torch.channels_last) + 1, (2, 3, 4, 5)),
}


def facts(result, arguments):
    """All that can be seen of a result, and which argument's storage it has."""
    leaves = result if isinstance(result, (tuple, list)) else [result]
    storages = [leaf.untyped_storage()._cdata for leaf in arguments]

    def of(leaf):
        storage = leaf.untyped_storage()
        owner = storages.index(storage._cdata) if storage._cdata in storages else None
        same = next((n for n, one in enumerate(arguments) if one is leaf), None)
        return (
            tuple(leaf.shape),
            leaf.stride(),
            leaf.storage_offset(),
            leaf.dtype,
            leaf.fake_device,
            leaf.requires_grad,
            leaf.is_inference(),
            storage.nbytes(),
            owner,
            same,
        )

    return type(result), [of(leaf) for leaf in (*leaves, *arguments)]


def outcome(mode, call, shapes):
    """What a call gives in this mode, or the error that it raises."""
    with mode:
        arguments = [empty(*shape) for shape in shapes]
        try:
            return facts(call(*arguments), arguments)
        except Exception as error:
            return type(error), str(error).splitlines()[0]


def torch_mode():
    return LaneFakeMode()


@pytest.fixture
def asked(monkeypatch):
    """Operators that torch was asked for since the list was last cleared."""
    found = []
    before = FakeTensorMode.__torch_dispatch__

    def tell(self, func, types, args=(), kwargs=None):
        if func is not DEVICE_QUERY:
            found.append(str(func))
        return before(self, func, types, args, kwargs or {})

    monkeypatch.setattr(FakeTensorMode, "__torch_dispatch__", tell)
    monkeypatch.setattr(quick_fake, "_known", {})
    return found


@pytest.fixture
def lanes(monkeypatch):
    """The shadow lane, and the same with torch's own fakes."""
    quick = ShadowLane(Path("/"))
    monkeypatch.setattr(shadow, "QuickFakeMode", torch_mode)
    return quick, ShadowLane(Path("/"))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("grad", ["no-grad", "grad", "inference"])
def test_known_again_as_torch_would_say(name, grad):
    """The first call, the second and a third in another session give what torch gives."""
    call, *shapes = CALLS[name]
    mode = QuickFakeMode()
    contexts = {
        "no-grad": torch.no_grad,
        "grad": torch.enable_grad,
        "inference": torch.inference_mode,
    }
    with contexts[grad]():
        right = outcome(torch_mode(), call, shapes)
        found = [outcome(mode, call, shapes), outcome(mode, call, shapes)]
        assert [right] * 3 == [*found, outcome(QuickFakeMode(), call, shapes)]


def test_what_is_known_is_not_asked_again(asked):
    """A plain call's second time does not reach torch; that is what makes it quick."""

    def call(a, b):
        return (a + b)[1:].mul_(2.0).view(-1).sort()

    mode = QuickFakeMode()
    first = outcome(mode, call, [(4, 3), (3,)])
    assert asked
    asked.clear()
    second = outcome(mode, call, [(4, 3), (3,)])
    assert (first, []) == (second, asked)


@pytest.mark.parametrize(
    "call",
    [
        lambda a: a[a > 0],
        torch.nonzero,
        lambda a: a.sum().item(),
        lambda a: a[torch.ones(5, dtype=torch.uint8)],
    ],
    ids=["mask", "nonzero", "item", "mask-of-bytes"],
)
def test_sizes_that_follow_values_are_never_known(call):
    """What torch refuses because values decide it is refused at each call."""
    mode = QuickFakeMode()
    right = outcome(torch_mode(), call, [(5,)])
    assert issubclass(right[0], Exception)
    assert [right] * 2 == [outcome(mode, call, [(5,)]) for _ in range(2)]


def test_a_view_beyond_its_storage_leaves_it_as_it_is():
    """A view that ends a value behind its storage makes that no larger, the second time neither.

    One that ends with it is known.
    """
    mode = QuickFakeMode()
    with mode:
        pool = empty(10)
        for num_values in (10, 11):
            for _ in range(2):
                pool.as_strided((num_values,), (1,))
                assert pool.untyped_storage().nbytes() == 40


def test_another_default_dtype_is_another_call(monkeypatch):
    """What a factory gives depends on torch's default, and is not taken from before."""
    mode = QuickFakeMode()
    with mode:
        before = torch.zeros(3).dtype
        try:
            torch.set_default_dtype(torch.float64)
            after = torch.zeros(3).dtype
        finally:
            torch.set_default_dtype(before)
    assert (F32, torch.float64) == (before, after)


def test_gradients_pass_through_what_is_known(lanes):
    """A training step has its gradients and the trace that torch gives it, the second time too."""
    quick, slow = lanes
    grads = []

    def step(sizes, device):
        weight = torch.nn.Parameter(torch.ones(4, 3, device=device))
        inputs = torch.ones(sizes["n"], 4, device=device)

        def call():
            (inputs @ weight).relu().sum().backward()
            grads.append(tuple(weight.grad.shape))

        return call

    # A process's first backward pass imports what frees its last tensors in another order.
    slow.run(step, {"n": 5})
    right = slow.run(step, {"n": 5})
    assert [right] * 2 == [quick.run(step, {"n": 5}) for _ in range(2)]
    assert [(4, 3)] * 4 == grads


@pytest.mark.parametrize("builder", [build, build_swa_only])
@pytest.mark.parametrize("subject", sorted(BUILTINS))
def test_traces_are_those_of_torch(subject, builder, lanes):
    """Every built-in's trace is the same with torch's own mode, event by event."""

    def step(sizes, device):
        arguments = builder(sizes, device)
        return torch.no_grad()(lambda: BUILTINS[subject](**arguments))

    quick, slow = lanes
    for sizes in (SMALL.sizes, {**SMALL.sizes, "num_tokens": 1}, SMALL.sizes):
        assert slow.run(step, sizes) == quick.run(step, sizes)


aten = torch.ops.aten
SURE = {
    "an elementwise one": (aten.add.Tensor, True),
    "in place": (aten.mul_.Scalar, True),
    "a view": (aten.select.int, True),
    "several views": (aten.split.Tensor, True),
    "indices": (aten.index.Tensor, True),
    "a new one": (aten.empty.memory_format, True),
    "a mask's entries": (aten.masked_select.default, False),
    "true entries": (aten.nonzero.default, False),
    "distinct ones": (aten._unique2.default, False),
    "a value": (aten._local_scalar_dense.default, False),
    "a comparison of all": (aten.equal.default, False),
    "a view in place": (aten.t_.default, False),
    "a squeezed in place": (aten.squeeze_.default, False),
    "a resized one": (aten.resize_.default, False),
    "as large as another": (aten.resize_as_.default, False),
    "set": (aten.set_.source_Tensor, False),
    "lifted": (aten.lift.default, False),
    "lifted fresh": (aten.lift_fresh.default, False),
    "a lifted copy": (aten.lift_fresh_copy.default, False),
    "perhaps a copy": (aten.reshape.default, False),
    "perhaps contiguous": (aten.contiguous.default, False),
}


@pytest.mark.parametrize(("func", "is_sure"), SURE.values(), ids=SURE)
def test_only_what_kinds_and_sizes_decide_is_remembered(func, is_sure):
    assert is_sure == quick_fake._is_sure(func)


def test_an_operator_of_others_is_never_remembered():
    with torch.library._scoped_library("oom_quick_fake", "FRAGMENT") as library:
        library.define("twice(Tensor x) -> Tensor")
        assert not quick_fake._is_sure(torch.ops.oom_quick_fake.twice.default)


@pytest.mark.parametrize(
    ("dtype", "is_mask"),
    [
        (torch.bool, True),
        (torch.int8, True),
        (torch.uint8, True),
        (I64, False),
        (torch.int32, False),
    ],
    ids=str,
)
def test_an_index_of_bytes_or_truths_chooses_by_its_values(dtype, is_mask):
    assert is_mask == quick_fake._is_mask(torch.zeros(2, dtype=dtype))
    assert not quick_fake._is_mask(None)


@pytest.mark.parametrize(
    ("size", "stride", "offset", "dtype", "end"),
    [
        ((2, 3), (3, 1), 0, F32, 24),
        ((2, 3), (3, 1), 5, F32, 44),
        ((2, 3), (4, 1), 1, torch.bfloat16, 16),
        ((), (), 2, I64, 24),
        ((2, 0), (1, 1), 7, F32, 0),
        ((3, 4), (0, 1), 0, F32, 16),
    ],
)
def test_a_tensor_ends_behind_its_last_element(size, stride, offset, dtype, end):
    made = quick_fake._Made(size, stride, offset, dtype, torch.device("cpu"), None, False)
    assert end == quick_fake._end(made)
