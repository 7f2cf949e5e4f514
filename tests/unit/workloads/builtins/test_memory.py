"""What each decode path asks of the allocator, and what it does not."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from torch._subclasses.fake_tensor import FakeTensorMode

from fixtures.torch_versions import IS_SINCE_2_13
from oom_suite.workloads.sparse_mla.builtins import (
    BUILTINS,
    full_dequant_decode,
    streaming_decode,
    token_gather_decode,
)
from oom_suite.workloads.sparse_mla.geometry import resize, scenario
from oom_suite.workloads.sparse_mla.step import build

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    LivePeak = Callable[[Callable[..., None], Mapping[str, int]], int]

SMALL, ISSUE = scenario("small").sizes, scenario("issue-41962").sizes

RESIDENT_GROWTH = """
import torch
from oom_suite.workloads.sparse_mla.caches import paged_pool, spread_indices
from oom_suite.workloads.sparse_mla.geometry import FP8_DS_MLA_V4, scenario
from oom_suite.workloads.sparse_mla.builtins import BUILTINS
from oom_suite.workloads.sparse_mla.step import build

def peak_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

warm = build(scenario("small").sizes, "cpu")
step = build(scenario("issue-41962").sizes, "cpu")
for name in ("kv_cache", "swa_k_cache"):
    step[name] = paged_pool(221_839, 64, FP8_DS_MLA_V4, "cpu", padded=True)
subject = BUILTINS["{name}"]
subject(**warm)
before = peak_kib()
subject(**step)
print(peak_kib() - before)
"""


def test_full_dequant_holds_both_pools_in_bf16(live_peak: LivePeak) -> None:
    """At the issue's pool 27 GiB live at once: 65536 bytes a block, twice, and 896 of scales."""
    assert live_peak(full_dequant_decode, ISSUE) == 221_839 * (65536 + 65536 + 896)


def test_full_dequant_keeps_its_law_on_a_small_pool(live_peak: LivePeak) -> None:
    """Where the pool is small, gathering decides: 3089 bytes an entry beside both pools."""
    expected = 64 * 2 * 65536 + 3089 * 4 * 512 + 4104 * 4 * 8
    assert expected == live_peak(full_dequant_decode, SMALL)


@pytest.mark.parametrize(
    ("changes", "entries"),
    [({}, 4 * 512), ({"num_tokens": 64}, 64 * 512), ({"swa_topk": 1024}, 4 * 1024)],
    ids=["small", "64-tokens", "wide-window"],
)
def test_token_gather_keeps_its_law(
    changes: dict[str, int], entries: int, live_peak: LivePeak
) -> None:
    """2677 bytes for each entry of the wider pool, 4104 for each head of a token."""
    sizes = resize(SMALL, changes)
    expected = 2677 * entries + 4104 * sizes["num_tokens"] * 8
    assert expected == live_peak(token_gather_decode, sizes)


def test_streaming_keeps_its_law(live_peak: LivePeak) -> None:
    """2677 bytes for each of a chunk's 64 entries, 4104 for each head of a token."""
    assert 2677 * 64 * 4 + 4104 * 4 * 8 == live_peak(streaming_decode, SMALL)


@pytest.mark.parametrize(
    ("changes", "per_block", "per_entry"),
    [({}, 1024 * 64 + 8, 3097), ({"referenced_blocks": 64, "num_tokens": 1}, 1622 * 64 + 8, 25)],
    ids=["gathering", "decoding"],
)
def test_block_compaction_keeps_its_law(
    changes: dict[str, int], per_block: int, per_entry: int, real_peak: LivePeak
) -> None:
    """1024 bytes a referenced token while gathering, 1622 while decoding, whichever is more."""
    sizes = resize(SMALL, changes)
    num_tokens = sizes["num_tokens"]
    expected = (
        per_block * sizes["referenced_blocks"]
        + per_entry * num_tokens * 512
        + 4104 * num_tokens * 8
    )
    assert expected == real_peak(BUILTINS["block_compaction"], sizes)


@pytest.mark.parametrize("name", ["token_gather", "streaming"])
def test_the_pool_does_not_matter(name: str, live_peak: LivePeak) -> None:
    """The peak is the same at 64, 512 and 221,839 blocks."""
    peaks = {
        live_peak(BUILTINS[name], resize(SMALL, {"num_blocks": blocks}))
        for blocks in (64, 512, 221_839)
    }
    assert len(peaks) == 1


@pytest.mark.parametrize("name", ["token_gather", "streaming"])
@pytest.mark.parametrize("axis", ["block_size", "referenced_blocks"])
def test_blocks_do_not_matter_where_tokens_are_gathered(
    axis: str, name: str, live_peak: LivePeak
) -> None:
    """Neither the size nor the number of the referenced blocks changes the peak."""
    peaks = {live_peak(BUILTINS[name], resize(SMALL, {axis: value})) for value in (2, 8, 64)}
    assert len(peaks) == 1


@pytest.mark.parametrize("name", ["token_gather", "streaming"])
def test_gathering_stays_under_16_kib_an_entry(name: str, live_peak: LivePeak) -> None:
    """At production's 64 tokens the peak keeps to 16 KiB for each index entry."""
    sizes = scenario("production").sizes
    entries = sizes["num_tokens"] * (sizes["swa_topk"] + sizes["extra_topk"])
    assert live_peak(BUILTINS[name], sizes) <= 16 * 1024 * entries


def test_streaming_does_not_grow_with_topk(live_peak: LivePeak) -> None:
    """From one chunk on, top-k changes nothing; a gather of all tokens grows."""
    sizes = [resize(SMALL, {"swa_topk": k, "extra_topk": k}) for k in (64, 512, 4096)]
    streamed = {live_peak(streaming_decode, at) for at in sizes}
    gathered = {live_peak(token_gather_decode, at) for at in sizes}
    assert (1, 3) == (len(streamed), len(gathered))


@pytest.mark.parametrize("name", ["token_gather", "streaming"])
def test_capture_safe_paths_read_nothing_on_the_host(name: str) -> None:
    """A step without data runs through: a host read or a data-dependent size would raise."""
    with FakeTensorMode():
        BUILTINS[name](**build(ISSUE, "cpu"))


@pytest.mark.skipif(
    not IS_SINCE_2_13,
    reason="before 2.13 torch's own symbolic fakes ask whether an unknown number of rows is one",
)
def test_block_compaction_has_no_pool_sized_tensor(symbolic_mode: FakeTensorMode) -> None:
    """With the number of distinct blocks unknown, the step runs through on fake tensors."""
    with symbolic_mode:
        BUILTINS["block_compaction"](**build(ISSUE, "cpu"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("name", ["block_compaction", "token_gather", "streaming"])
def test_a_padded_production_pool_is_never_copied(name: str) -> None:
    """The issue's pool, strided as vLLM's, for real: under 256 MiB more at the peak."""
    code = RESIDENT_GROWTH.format(name=name)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 256 * 1024
