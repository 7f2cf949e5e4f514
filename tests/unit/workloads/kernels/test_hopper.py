"""When Hopper's own kernels are taken, and how many programs of them share a token."""

from __future__ import annotations

import pytest
import torch

from oom_suite.workloads.sparse_mla.builtins.rows import PoolRead
from oom_suite.workloads.sparse_mla.kernels import hopper


@pytest.mark.parametrize(
    ("num_programs", "num_tiles", "size"),
    [
        (1, 10, 8),
        (1, 8, 8),
        (1, 7, 4),
        (1, 2, 2),
        (1, 1, 1),
        (1, 0, 1),
        (14, 10, 8),
        (15, 10, 4),
        (28, 10, 4),
        (29, 10, 2),
        (66, 10, 2),
        (67, 10, 1),
    ],
)
def test_programs_of_a_cluster_have_a_tile_each_and_all_run_at_once(num_programs, num_tiles, size):
    """On an H200's 132 cores."""
    assert size == hopper.cluster_size(num_programs, num_tiles, 132)


class OnGpu:
    """What stands for a tensor on a GPU: another one lies as it would."""

    is_cuda, device = True, "cuda"

    def __init__(self, tensor):
        self._tensor = tensor

    def __getattr__(self, name):
        return getattr(self._tensor, name)


def pool_of(stride_bytes, offset_bytes=0):
    """A cache of four blocks of two tokens, somewhere in memory."""
    memory = torch.zeros(4 * stride_bytes + offset_bytes, dtype=torch.uint8)
    return memory.as_strided((4, 2, 584), (stride_bytes, 584, 1), offset_bytes)


def rows_of(*strides, offset=0):
    """Three rows of each of two requests, or of one where one stride is given, of bf16."""
    shape = (2, 3, 512)[-len(strides) - 1 :]
    memory = torch.zeros(2 * 4 * 600 + offset, dtype=torch.bfloat16)
    return OnGpu(memory.as_strided(shape, (*strides, 1), offset))


HOPPER = {
    "capability": (9, 0),
    "hip": None,
    "fp8_dtype": torch.float8_e4m3fn,
    "pool": pool_of(1168),
    "has_gluon": True,
}

PATHS = {
    path.operation: path for path in (hopper.DECODE, hopper.GATHER_SPARSE, hopper.GATHER_DENSE)
}


@pytest.fixture
def applies(monkeypatch):
    """Whether a path serves a call here, where all but some is as a Hopper has it."""

    def asked(path, unlike, **call):
        given = HOPPER | unlike
        monkeypatch.delenv("TRITON_INTERPRET", raising=False)
        capability = given["capability"]
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
        monkeypatch.setattr(torch.version, "hip", given["hip"])
        monkeypatch.setattr(hopper, "_has_gluon", lambda: given["has_gluon"])
        return path.applies(fp8_dtype=given["fp8_dtype"], **call)

    return asked


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("unlike", "wanted"),
    [
        ({}, True),
        ({"pool": pool_of(1168, 16)}, True),
        ({"pool": pool_of(1176)}, False),
        ({"pool": pool_of(1168, 8)}, False),
        ({"fp8_dtype": torch.float8_e4m3fnuz}, False),
        ({"capability": (8, 9)}, False),
        ({"capability": (10, 0)}, False),
        ({"hip": "7.0"}, False),
        ({"has_gluon": False}, False),
    ],
    ids=["hopper", "aligned", "page", "start", "fnuz", "ada", "blackwell", "hip", "triton 3.5"],
)
def test_a_fast_path_is_taken_for_what_it_is_written_for(applies, path, unlike, wanted):
    """Each condition by itself; all else takes the portable kernel."""
    pool = (HOPPER | unlike)["pool"]
    if path == "decode":
        lens = torch.ones(1)
        reads = [PoolRead(pool, torch.zeros(1, 4, dtype=torch.int32), lens)]
        call = {"q": OnGpu(lens), "reads": reads}
    else:
        call = {"out": rows_of(512), "k_cache": pool}
    paths = {
        one.operation: one for one in (hopper.DECODE, hopper.GATHER_SPARSE, hopper.GATHER_DENSE)
    }
    assert wanted is applies(paths[path], unlike, **call)


@pytest.mark.parametrize(
    ("out", "wanted"),
    [
        (rows_of(512), True),
        (rows_of(520), True),
        (rows_of(516), False),
        (rows_of(512, offset=8), True),
        (rows_of(512, offset=4), False),
        (rows_of(1544, 512), True),
        (rows_of(1540, 512), False),
        (rows_of(1536, 514), False),
    ],
    ids=["dense", "gap", "row", "behind 16", "behind 8", "requests", "request", "its rows"],
)
def test_rows_are_copied_whole_where_each_begins_at_16_bytes(applies, out, wanted):
    """By 16 bytes at a time; threads store all others."""
    assert wanted is applies(hopper.GATHER_DENSE, {}, out=out, k_cache=HOPPER["pool"])
