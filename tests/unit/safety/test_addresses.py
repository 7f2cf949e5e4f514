from __future__ import annotations

import os
import resource
import signal
from types import SimpleNamespace

import pytest
import torch

from oom_suite.errors import LaneError
from oom_suite.records import Verdict
from oom_suite.records.workload import Pool
from oom_suite.safety import addresses
from oom_suite.safety.addresses import Addresses
from oom_suite.safety.placements import placed, placements
from oom_suite.units import format_bytes
from oom_suite.workloads.sparse_mla.builtins import BUILTINS, token_gather_decode
from oom_suite.workloads.variants import PoolBytes

PAGE_BYTES = 37_440
PLACEMENTS = placements(8, 64, PAGE_BYTES)
STRIDED, DENSE = PLACEMENTS[-2:]


def dropping(drops):
    """token_gather that ignores the entries of blocks for which ``drops(first_byte)`` holds."""

    def decode(**step):
        pool, slots = step["swa_k_cache"], step["swa_indices"]
        first_byte = slots.long() // pool.shape[1] * pool.stride(0)
        token_gather_decode(**{**step, "swa_indices": slots.masked_fill(drops(first_byte), -1)})

    return decode


def wrong_blocks(finding):
    return {hit.text.partition(":")[0]: hit.region.first_byte for hit in finding.hits}


@pytest.mark.parametrize("workload", ["decode", "decode-swa"])
@pytest.mark.parametrize("name", BUILTINS)
def test_built_ins_give_the_same_bits_everywhere(safety_target, name, workload):
    """A whole-pool decode cannot be shown on the dense pool, which is said; all else is right."""
    finding = Addresses()(safety_target(call=BUILTINS[name], workload=workload))
    said = dict(finding.facts)
    others = {one.name: said[one.name] for one in PLACEMENTS if one is not DENSE}
    assert (Verdict.PASS, {"the same bits"}) == (finding.verdict, set(others.values()))
    assert (name == "full_dequant") == ("grows with the pool" in said[DENSE.name])


@pytest.mark.parametrize(
    ("limit", "strided", "dense"),
    [
        (2**31, 3 * STRIDED.stride_bytes, 57_359 * PAGE_BYTES),
        (2**32, 6 * STRIDED.stride_bytes, 114_717 * PAGE_BYTES),
    ],
    ids=["2**31", "2**32"],
)
def test_the_first_wrong_block_is_named(safety_target, limit, strided, dense):
    """Addresses that break at a limit are wrong from the first block behind it on."""
    finding = Addresses()(safety_target(call=dropping(lambda first: first >= limit)))
    assert Verdict.FAIL is finding.verdict
    assert {"wrong-address"} == {hit.kind for hit in finding.hits}
    assert {STRIDED.name: strided, DENSE.name: dense} == wrong_blocks(finding)


def test_the_block_across_the_limit_is_tried(safety_target):
    """A block that begins before 2**31 and ends behind it is placed in the dense pool."""

    def drops(first):
        return (first < 2**31) & (first + PAGE_BYTES > 2**31)

    assert {DENSE.name} == set(wrong_blocks(Addresses()(safety_target(call=dropping(drops)))))


def test_limits_beyond_the_pool_are_the_healthy_twin(safety_target):
    """Code that is right up to the largest address tried passes."""
    largest = max(one.num_blocks * one.stride_bytes for one in PLACEMENTS)
    target = safety_target(call=dropping(lambda first: first >= largest))
    assert Verdict.PASS is Addresses()(target).verdict


def _seen_as(pool, stride, offset):
    return pool.as_strided(pool.shape, (stride, 584, 1), offset)


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (lambda p: _seen_as(p, p.shape[1] * 584, p.storage_offset()), "padded pages"),
        (lambda p: _seen_as(p, p.stride(0), 0), "a view into a larger buffer"),
        (
            lambda p: _seen_as(p, min(p.stride(0), PAGE_BYTES), p.storage_offset()),
            "a block stride of several pages",
        ),
    ],
    ids=["ignores padding", "ignores the offset", "ignores a longer stride"],
)
def test_a_layout_that_is_assumed_is_found(safety_target, change, broken):
    """Code that takes pages to be contiguous, or a pool to begin its storage, is wrong there."""

    def decode(**step):
        token_gather_decode(**{**step, "swa_k_cache": change(step["swa_k_cache"])})

    finding = Addresses()(safety_target(call=decode))
    assert broken == finding.hits[0].text.partition(":")[0]


def test_a_crash_past_a_limit_is_a_wild_access(safety_target):
    """A wrong address that crashes ends its fork and not the check."""

    def decode(**step):
        if step["swa_k_cache"].stride(0) > 2**28:
            os.kill(os.getpid(), signal.SIGSEGV)
        token_gather_decode(**step)

    finding = Addresses()(safety_target(call=decode))
    assert [("wild-access", True)] == [(h.kind, "SIGSEGV" in h.text) for h in finding.hits]


def test_int32_arithmetic_on_the_elements_of_a_pool_is_found(safety_target):
    """Slot times 512 elements in int32, the fault that vLLM had to fix, breaks in the pool."""

    def decode(**step):
        slots = step["swa_indices"]
        overflows = (slots.to(torch.int32) * 512) < 0
        kept = slots.masked_fill(overflows & (slots > 0), -1)
        token_gather_decode(**{**step, "swa_indices": kept})

    assert {DENSE.name} == set(wrong_blocks(Addresses()(safety_target(call=decode))))


def test_slots_stay_within_int32():
    """Every placement can be indexed by int32, as vLLM's indices are."""
    assert all(one.num_blocks * 64 < 2**31 for one in PLACEMENTS)


@pytest.mark.parametrize("num_blocks", [1, 2, 3, 8, 24])
@pytest.mark.parametrize(
    ("block_size", "page_bytes"), [(64, 37_440), (64, 16_384), (16, 512), (1, 8)]
)
def test_any_small_pool_is_placed(num_blocks, block_size, page_bytes):
    """Each block has a place of its own within the pool, the last one far away."""
    for where in placements(num_blocks, block_size, page_bytes):
        assert num_blocks == len(set(where.blocks))
        assert list(where.blocks) == sorted(where.blocks)
        assert 0 <= where.blocks[0]
        assert where.blocks[-1] < where.num_blocks
        assert where.num_blocks * block_size <= 2**31
        assert where.stride_bytes % page_bytes == 0
        if where.is_far and num_blocks > 1 and page_bytes > 8:
            assert where.first_byte(num_blocks - 1) >= 2**32 - where.stride_bytes


def at_dense(pool):
    return pool.shape[0] > 2**15


def raising(error, *, is_there=lambda pool: pool.stride(0) > 2**28 or at_dense(pool)):
    """token_gather that raises an error in the far pools."""

    def decode(**step):
        if is_there(step["swa_k_cache"]):
            raise error
        token_gather_decode(**step)

    return decode


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
        torch.OutOfMemoryError("no more"),
        MemoryError("none left"),
        RuntimeError("out of memory"),
    ],
    ids=repr,
)
def test_memory_that_grows_with_the_pool_is_not_had_for_the_dense_one_alone(safety_target, error):
    """There it is a fact; in the strided pool, which has few blocks, it is refused."""
    finding = Addresses()(safety_target(call=raising(error)))
    assert ["refuses-placement"] == [hit.kind for hit in finding.hits]
    assert finding.hits[0].text.startswith(f"{STRIDED.name}: {type(error).__name__}")
    assert (
        f"not run: it asks for memory that grows with the pool of {format_bytes(DENSE.num_bytes)}"
    ) == dict(finding.facts)[DENSE.name]
    finding = Addresses()(safety_target(call=raising(error, is_there=at_dense)))
    num_right = len(PLACEMENTS) - 1
    assert (Verdict.PASS, ()) == (finding.verdict, finding.hits)
    assert finding.reason.startswith(
        f"the same bits in {num_right} of {len(PLACEMENTS)} placements; {DENSE.name}: not run: "
    )


def test_another_error_in_the_dense_pool_refuses_the_placement(safety_target):
    finding = Addresses()(safety_target(call=raising(ValueError("no"), is_there=at_dense)))
    assert [("refuses-placement", f"{DENSE.name}: ValueError: no")] == [
        (hit.kind, hit.text) for hit in finding.hits
    ]
    assert "ValueError: no" == dict(finding.facts)[DENSE.name]


@pytest.mark.parametrize(
    ("number", "is_wild"),
    [
        (signal.SIGSEGV, True),
        (signal.SIGBUS, True),
        (signal.SIGABRT, True),
        (signal.SIGKILL, False),
        (signal.SIGTERM, False),
    ],
)
def test_a_signal_of_a_wrong_address_is_a_breach_and_another_leaves_it_open(
    safety_target, number, is_wild
):
    def decode(**step):
        if at_dense(step["swa_k_cache"]):
            os.kill(os.getpid(), number)
        token_gather_decode(**step)

    finding = Addresses()(safety_target(call=decode))
    seen = dict(finding.facts)[DENSE.name]
    assert number.name in seen
    if is_wild:
        (hit,) = finding.hits
        assert ("wild-access", f"{DENSE.name}: {seen}") == (hit.kind, hit.text)
        assert (Verdict.FAIL, hit.text) == (finding.verdict, finding.reason)
    else:
        assert (Verdict.INCONCLUSIVE, ()) == (finding.verdict, finding.hits)
        assert f"{DENSE.name}: {seen}" == finding.reason


def test_the_far_pools_alone_are_tried_in_forks_and_the_dense_one_with_little_memory(
    safety_target, monkeypatch
):
    """A minute for each, and 512 MiB that the call in the pool of 8 GiB may add."""
    seen = []

    def forked(run, limit_s):
        seen.append(limit_s)
        return run()

    monkeypatch.setattr(addresses, "in_fork", forked)
    monkeypatch.setattr(addresses, "_limit_address_space", seen.append)
    assert Verdict.PASS is Addresses()(safety_target()).verdict
    assert [60.0, 60.0, 512 * 1024 * 1024] == seen


def test_a_system_that_has_not_the_memory_leaves_a_placement_open(safety_target, monkeypatch):
    def refused(step, pools, where, device):
        if where.is_far:
            raise LaneError(f"no memory for {where.name}")
        return placed(step, pools, where, device)

    monkeypatch.setattr(addresses, "placed", refused)
    finding = Addresses()(safety_target())
    assert (Verdict.INCONCLUSIVE, ()) == (finding.verdict, finding.hits)
    assert "; ".join(f"{one.name}: no memory for {one.name}" for one in (STRIDED, DENSE)) == (
        finding.reason
    )


def test_a_pass_says_how_far_and_a_step_that_raises_everywhere_proves_nothing(safety_target):
    finding = Addresses()(safety_target())
    number = len(PLACEMENTS)
    assert (
        f"the same bits in {number} of {number} placements, up to 8 GiB from a pool's start"
    ) == finding.reason
    finding = Addresses()(safety_target(call=raising(ValueError("no"), is_there=lambda pool: True)))
    assert (Verdict.INCONCLUSIVE, "a plain step in a small pool raised ValueError: no") == (
        finding.verdict,
        finding.reason,
    )


def test_a_wrong_block_is_named_with_its_place_and_its_bytes(safety_target):
    """Its first byte also as a multiple of 2**31, and as many bytes as a page has."""
    finding = Addresses()(safety_target(call=dropping(lambda first: first >= 2**31)))
    strided, dense = finding.hits
    for hit, where in ((strided, STRIDED), (dense, DENSE)):
        region = hit.region
        first_byte = region.block * where.stride_bytes
        assert (first_byte, PAGE_BYTES) == (region.first_byte, region.num_bytes)
        assert ("swa_k_cache", "referenced block", None, 0) == (
            region.tensor,
            region.what,
            region.slot,
            region.distance_bytes,
        )
        assert (
            f"{where.name}: block {region.block}, whose first byte is {first_byte:,} of the pool "
            f"({first_byte / 2**31:.3f} * 2**31), gives another result than in a small pool"
        ) == hit.text
        assert "another result" == dict(finding.facts)[where.name]
    assert strided.text == finding.reason


def test_a_result_that_no_block_alone_explains_is_wrong_without_a_place(safety_target):
    """Two blocks that are named together, past a limit."""

    def decode(**step):
        slots = step["swa_indices"]
        blocks = {int(slot) // step["swa_k_cache"].shape[1] for slot in slots[slots >= 0]}
        token_gather_decode(**step)
        if len(blocks) > 1 and at_dense(step["swa_k_cache"]):
            step["output"].add_(1.0)

    (hit,) = Addresses()(safety_target(call=decode)).hits
    assert ("wrong-address", None) == (hit.kind, hit.region)
    assert f"{DENSE.name}: another result than in a small pool" == hit.text


@pytest.mark.parametrize(
    ("hard_bytes", "is_set"),
    [(resource.RLIM_INFINITY, True), (10 * 4096 + 1001, True), (10 * 4096 + 1000, False)],
    ids=["none", "a byte more", "as much"],
)
def test_a_call_may_add_so_much_address_space_where_the_system_allows_more(
    monkeypatch, tmp_path, hard_bytes, is_set
):
    """Beyond the pages that the process has; the system's own limit stays."""
    seen = []
    statm = tmp_path / "statm"
    statm.write_text("10 7 3 1 0 2 0\n")
    monkeypatch.setattr(addresses, "Path", lambda name: {"/proc/self/statm": statm}[name])
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096}.__getitem__)
    monkeypatch.setattr(resource, "getrlimit", {resource.RLIMIT_AS: (5, hard_bytes)}.get)
    monkeypatch.setattr(resource, "setrlimit", lambda *given: seen.append(given))
    addresses._limit_address_space(1000)
    assert [(resource.RLIMIT_AS, (10 * 4096 + 1000, hard_bytes))] * is_set == seen


def test_placements_follow_the_first_pool_and_the_largest_page(monkeypatch):
    """Of the pools that the step has."""
    seen = []
    monkeypatch.setattr(addresses, "placements", lambda *given: seen.append(given))
    pools = (Pool("none", "i"), Pool("first", "i"), Pool("second", "i"))
    step = {
        "none": None,
        "first": torch.zeros(6, 16, 2, dtype=torch.uint8),
        "second": torch.zeros(9, 4, 20, dtype=torch.uint8),
    }
    variants = SimpleNamespace(pool_bytes=PoolBytes())
    addresses._placements(
        SimpleNamespace(workload=SimpleNamespace(pools=pools), variants=variants), step
    )
    assert [(6, 16, 80)] == seen
