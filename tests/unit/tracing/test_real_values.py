"""Which values are kept beside fake tensors, and until when."""

from __future__ import annotations

import gc

import pytest
import torch

from oom_suite.torch_compat.fakes import FakeMode
from oom_suite.tracing.real_values import (
    MAX_FLOAT_BYTES,
    MAX_INDEX_BYTES,
    RealValues,
    holds_index_data,
    is_kept,
)

INDICES = (torch.bool, torch.int16, torch.int32, torch.int64)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
NEVER = (torch.uint8, torch.int8, torch.float8_e4m3fn, torch.complex64)


def of_bytes(num_bytes, dtype):
    size = num_bytes // dtype.itemsize
    return torch.empty(size, dtype=dtype, device="meta")


@pytest.mark.parametrize("dtype", INDICES, ids=str)
def test_index_data_is_kept_up_to_128_mib(dtype):
    assert 128 * 1024 * 1024 == MAX_INDEX_BYTES
    assert is_kept(of_bytes(MAX_INDEX_BYTES, dtype))
    assert not is_kept(of_bytes(MAX_INDEX_BYTES + dtype.itemsize, dtype))
    assert holds_index_data(of_bytes(8, dtype))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_numbers_with_fractions_are_kept_up_to_64_kib(dtype):
    assert 64 * 1024 == MAX_FLOAT_BYTES
    assert is_kept(of_bytes(MAX_FLOAT_BYTES, dtype))
    assert not is_kept(of_bytes(MAX_FLOAT_BYTES + dtype.itemsize, dtype))
    assert not holds_index_data(of_bytes(8, dtype))


@pytest.mark.parametrize("dtype", NEVER, ids=str)
def test_a_caches_bytes_are_never_kept(dtype):
    assert not is_kept(of_bytes(8, dtype))
    assert not holds_index_data(of_bytes(8, dtype))


@pytest.fixture
def mode():
    return FakeMode()


def fake(mode, *shape, dtype=torch.int64):
    with mode:
        return torch.empty(shape, dtype=dtype)


def test_what_is_kept_is_known_with_its_views_until_it_is_forgotten(mode):
    values = RealValues()
    one, other = fake(mode, 2, 3), fake(mode, 2, 3)
    assert not values.are_known(one)
    real = torch.arange(6).view(2, 3)
    values.keep(one, real)
    assert (True, False) == (values.are_known(one), values.are_known(other))
    assert values.of(one).data_ptr() == real.data_ptr()
    with mode:
        part = one[1:, ::2]
    assert [[3, 5]] == values.of(part).tolist()
    real[1, 2] = 9
    assert [[3, 9]] == values.of(part).tolist()
    values.forget([other, torch.zeros(1)])
    assert values.are_known(one)
    values.forget([part])
    assert not values.are_known(one)


def test_real_tensors_on_the_host_are_their_own_values(mode):
    values, real = RealValues(), torch.arange(3)
    assert values.are_known(real)
    assert not values.are_known(torch.empty(3, device="meta"))
    assert real is values.of(real)


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x.t(),
        lambda x: x.contiguous(),
        lambda x: torch.cat([x[:1] * 0, x])[1:],
    ],
    ids=["other strides", "the same", "an offset"],
)
def test_values_are_laid_out_as_the_fakes_are(mode, layout):
    """Views of the fake then find them."""
    values = RealValues()
    one = fake(mode, 3, 3)
    values.keep(one, layout(torch.arange(9).view(3, 3)))
    expected = layout(torch.arange(9).view(3, 3))
    assert expected.tolist() == values.of(one).tolist()
    assert one.stride() == values.of(one).stride()
    with mode:
        flat = one.view(9)
    assert expected.flatten().tolist() == values.of(flat).tolist()


def test_what_is_too_large_is_not_kept(mode):
    values = RealValues()
    one = fake(mode, MAX_FLOAT_BYTES // 4 + 1, dtype=torch.float32)
    values.keep(one, torch.zeros(MAX_FLOAT_BYTES // 4 + 1))
    assert not values.are_known(one)


def test_values_die_with_their_fakes(mode):
    """Those kept later of the same storage do not die with an earlier note of it."""
    values = RealValues()
    one = fake(mode, 3)
    values.keep(one, torch.arange(3))
    values.keep(one, torch.arange(3) + 5)
    assert [5, 6, 7] == values.of(one).tolist()
    del one
    gc.collect()
    assert {} == values._storages
