"""Pools have vLLM's strides, and only what is written costs memory."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from oom_suite.errors import UsageError
from oom_suite.workloads.sparse_mla.caches import block_view, dequantize, paged_pool, write_blocks
from oom_suite.workloads.sparse_mla.geometry import FP8_DS_MLA_V4

RESIDENT_GROWTH = """
import torch
from oom_suite.workloads.sparse_mla.caches import paged_pool, write_blocks
from oom_suite.workloads.sparse_mla.geometry import FP8_DS_MLA_V4

def resident_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

ids = torch.arange(64) * (221_839 // 64)
keys = torch.randn(64, 64, 512)
before = resident_kib()
pool = paged_pool(221_839, 64, FP8_DS_MLA_V4, "cpu", padded={padded})
write_blocks(pool, ids, keys, FP8_DS_MLA_V4)
print(resident_kib() - before)
"""


@pytest.mark.parametrize(("block_size", "stride_bytes"), [(64, 37440), (2, 1728)])
def test_padded_pool_has_vllms_strides(block_size: int, stride_bytes: int) -> None:
    """Pages of 64 tokens stand 37440 bytes apart, pages of 2 tokens 1728."""
    pool = paged_pool(3, block_size, FP8_DS_MLA_V4, "cpu", padded=True)
    assert (3, block_size, 584) == tuple(pool.shape)
    assert (stride_bytes, 584, 1) == pool.stride()


def test_unpadded_pool_is_contiguous_and_works_on_fake_tensors() -> None:
    """An unpadded pool is contiguous, and no memory is needed to describe one."""
    with FakeTensorMode():
        pool = paged_pool(221_839, 64, FP8_DS_MLA_V4, "cpu")
    assert pool.is_contiguous()
    assert (221_839, 64, 584) == tuple(pool.shape)


@pytest.mark.parametrize("padded", [False, True])
def test_only_the_named_blocks_are_written(padded: bool) -> None:
    """Writing blocks 4 and 1 leaves every other byte of the pool, padding included."""
    pool = paged_pool(6, 2, FP8_DS_MLA_V4, "cpu", padded=padded)
    num_bytes = pool.untyped_storage().nbytes()
    pool.as_strided((num_bytes,), (1,)).fill_(0xA5)
    keys = torch.randn(2, 2, 512, generator=torch.Generator().manual_seed(1))
    write_blocks(pool, torch.tensor([4, 1]), keys, FP8_DS_MLA_V4)
    rows = block_view(pool)
    stored = dequantize(rows[[4, 1]], 2, FP8_DS_MLA_V4)
    torch.testing.assert_close(stored, keys, rtol=2.0**-4, atol=2.0**-10)
    assert (rows[[0, 2, 3, 5]] == 0xA5).all()
    if padded:
        page = pool.as_strided((6, 1728 - 1168), (1728, 1), 1168)
        assert (page == 0xA5).all()


def test_keys_that_do_not_fit_are_refused() -> None:
    """Keys for another number of blocks are an error that names both shapes."""
    pool = paged_pool(4, 2, FP8_DS_MLA_V4, "cpu")
    with pytest.raises(UsageError, match=r"\[1, 2, 512\]: these blocks take \[2, 2, 512\]"):
        write_blocks(pool, torch.tensor([0, 1]), torch.zeros(1, 2, 512), FP8_DS_MLA_V4)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("padded", [False, True])
def test_production_pool_costs_only_the_blocks_written(padded: bool) -> None:
    """A pool of 221,839 blocks, 64 of them written, grows resident memory by under 256 MiB."""
    code = RESIDENT_GROWTH.format(padded=padded)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 256 * 1024
