"""What dispatch hands to a mode: tensors wherever they stand, and facts of operators."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from oom_suite.operators import operands
from oom_suite.operators.operands import (
    has_tensors,
    is_composed_of,
    is_foreign,
    operator,
    tensors,
    with_tensors,
    written_tensors,
)
from oom_suite.torch_compat.fakes import device_of, is_real
from oom_suite.tracing.real_values import (
    MAX_FLOAT_BYTES,
    MAX_INDEX_BYTES,
    RealValues,
    holds_index_data,
    is_kept,
)

aten = torch.ops.aten
X, Y = torch.ones(2), torch.zeros(3)


def test_tensors_are_found_in_lists_tuples_and_the_values_of_dicts():
    value = ([X, 1, (Y,)], {"a": X, "b": [2, Y]}, "text", None)
    assert [id(one) for one in (X, Y, X, Y)] == [id(one) for one in tensors(value)]
    assert has_tensors(value)
    assert not has_tensors(([1], {"a": "b"}))


def test_every_tensor_is_changed_and_all_else_stays():
    """Tuples stay tuples, and lists lists."""
    changed = with_tensors(len, ([X, 1], (Y,), {"a": X, "b": "c"}))
    assert ([2, 1], (3,), {"a": 2, "b": "c"}) == changed
    assert (list, tuple) == (type(changed[0]), type(changed[1]))


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (aten.add.Tensor, ("aten::add.Tensor", "aten::add", False, False, False, ())),
        (aten.detach.default, ("aten::detach", "aten::detach", False, True, False, ())),
        (aten.add_.Tensor, ("aten::add_.Tensor", "aten::add_", True, True, False, ((0, "self"),))),
        (aten.add.out, ("aten::add.out", "aten::add", True, True, False, ((3, "out"),))),
        (aten._to_copy.default, ("aten::_to_copy", "aten::_to_copy", False, False, True, ())),
        (torch.ops.prims.add.default, ("prims::add", "prims::add", False, False, True, ())),
    ],
    ids=str,
)
def test_an_operators_facts_are_those_of_its_schema(func, expected):
    facts = operator(func)
    assert expected == (
        facts.name,
        facts.family,
        facts.is_mutable,
        facts.returns_alias,
        facts.may_return_argument,
        facts.written,
    )


@pytest.mark.parametrize("name", ["_to_copy", "lift", "_reshape_alias"])
def test_operators_of_torch_that_may_hand_an_argument_back_are_known(name):
    """Their schemas do not say so; of all others they do."""
    assert operator(getattr(aten, name).default).may_return_argument
    assert not operator(aten.clone.default).may_return_argument


def test_what_a_call_writes_to_is_found_by_position_or_by_name():
    assert [id(X)] == [id(one) for one in written_tensors(operator(aten.add_.Tensor), (X, Y), {})]
    out = operator(aten.add.out)
    assert [id(Y)] == [id(one) for one in written_tensors(out, (X, X), {"out": Y})]
    assert [id(Y)] == [id(one) for one in written_tensors(out, (X, X, 1, Y), {})]
    assert [] == list(written_tensors(out, (X, X), {}))


class Subclass(torch.Tensor):
    """A subclass that is neither torch's own tensor nor a fake one."""


def test_only_subclasses_of_others_are_foreign():
    fake = FakeTensorMode().from_tensor(X)
    assert not is_foreign([torch.Tensor, torch.nn.Parameter, type(fake)])
    assert is_foreign([torch.Tensor, Subclass])
    assert (True, False) == (is_real(X), is_real(fake))


class OnGpu(torch.Tensor):
    """A tensor that says it is on a GPU, where there is none."""

    device = torch.device("cuda")


def test_an_operator_with_a_kernel_for_gpus_is_one_there_and_composed_on_a_cpu(monkeypatch):
    """A fake tensor has no kernel wherever it is; without such a kernel all are composed."""
    func, fake = aten._fused_rms_norm.default, FakeTensorMode().from_tensor(X)
    on_gpu = X.as_subclass(OnGpu)
    fake.fake_device = torch.device("cuda")
    monkeypatch.setattr(operands, "_has_gpu_kernel", lambda func: True)
    assert [False, True, True] == [is_composed_of(func, [one]) for one in (on_gpu, X, fake)]
    assert not is_composed_of(aten.add.Tensor, [X])
    monkeypatch.setattr(operands, "_has_gpu_kernel", lambda func: False)
    assert is_composed_of(func, [on_gpu])


def test_a_fake_tensor_is_on_the_device_that_it_stands_for():
    with FakeTensorMode():
        assert "meta" == device_of(torch.empty(1, device="meta")).type
    assert "cpu" == device_of(X).type


@pytest.mark.parametrize(
    ("dtype", "limit_bytes", "is_index"),
    [
        (torch.bool, MAX_INDEX_BYTES, True),
        (torch.int16, MAX_INDEX_BYTES, True),
        (torch.int32, MAX_INDEX_BYTES, True),
        (torch.int64, MAX_INDEX_BYTES, True),
        (torch.float16, MAX_FLOAT_BYTES, False),
        (torch.bfloat16, MAX_FLOAT_BYTES, False),
        (torch.float32, MAX_FLOAT_BYTES, False),
        (torch.float64, MAX_FLOAT_BYTES, False),
        (torch.uint8, 0, False),
        (torch.int8, 0, False),
        (torch.float8_e4m3fn, 0, False),
        (torch.complex64, 0, False),
    ],
    ids=str,
)
def test_values_are_kept_up_to_the_size_that_such_data_has(dtype, limit_bytes, is_index):
    """Index data up to 128 MiB, other numbers up to 64 KiB, a cache's bytes never."""
    assert (128 * 2**20, 64 * 2**10) == (MAX_INDEX_BYTES, MAX_FLOAT_BYTES)
    most = limit_bytes // dtype.itemsize
    assert (limit_bytes > 0) == is_kept(torch.empty(most, dtype=dtype, device="meta"))
    assert not is_kept(torch.empty(most + 1, dtype=dtype, device="meta"))
    assert is_index == holds_index_data(torch.empty(1, dtype=dtype))


def test_values_are_shared_by_views_and_gone_with_their_storage():
    values, mode = RealValues(), FakeTensorMode()
    real = torch.arange(6)
    fake = mode.from_tensor(real)
    fake.constant = None
    assert not values.are_known(fake)
    values.keep(fake, real)
    with mode:
        row = fake.view(2, 3)[1]
    assert [3, 4, 5] == values.of(row).tolist()
    values.of(row)[0] = 9
    assert [0, 1, 2, 9, 4, 5] == values.of(fake).tolist()
    values.forget([row, torch.ones(1)])
    assert not values.are_known(fake)
    assert not values._storages


def test_values_of_another_layout_are_laid_out_as_the_fake_is():
    values, mode = RealValues(), FakeTensorMode()
    with mode:
        fake = torch.empty_strided((2, 3), (1, 2), dtype=torch.int64)
    values.keep(fake, torch.arange(6).view(2, 3))
    assert [[0, 1, 2], [3, 4, 5]] == values.of(fake).tolist()
    assert (1, 2) == values.of(fake).stride()


def test_a_storage_that_dies_takes_its_values_with_it():
    """So that none are found for another one at its address."""
    values, mode = RealValues(), FakeTensorMode()
    with mode:
        fake = torch.empty(3, dtype=torch.int64)
    values.keep(fake, torch.arange(3))
    assert 1 == len(values._storages)
    del fake
    assert {} == values._storages


def test_real_tensors_are_known_on_the_host_alone():
    values = RealValues()
    assert values.are_known(X)
    assert values.of(X) is X
    assert not values.are_known(torch.empty(1, device="meta"))
