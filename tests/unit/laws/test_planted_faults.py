"""Every planted fault is a FAIL that names its line; its healthy twin passes."""

from __future__ import annotations

import pytest
from heap import attention, law_of, verdict_on

from oom_suite.records import Verdict

MIB = 1 << 20


def power_of_two(value):
    return 1 << (value - 1).bit_length()


def ceil_to(value, multiple):
    return -(-value // multiple) * multiple


def faulty(num_bytes):
    """A program that asks for so many bytes at the line ``fault``, beside a healthy step."""

    def program(heap, s):
        handle = heap.alloc("fault", num_bytes(s)) if num_bytes(s) else None
        attention(heap, s)
        if handle is not None:
            heap.free(handle)

    return program


FAULTS = {
    "whole dequant": lambda s: s.swa_num_blocks * 65536,
    "whole dequant of both": lambda s: (s.swa_num_blocks + s.extra_num_blocks) * 65536,
    "one byte per swa block": lambda s: s.swa_num_blocks,
    "one byte per extra block": lambda s: s.extra_num_blocks,
    "one bit per swa block": lambda s: (s.swa_num_blocks + 7) // 8,
    "one bit per extra block": lambda s: (s.extra_num_blocks + 7) // 8,
    "one bit per block in words": lambda s: (s.extra_num_blocks + 31) // 32 * 4,
    "one byte per 64 blocks": lambda s: s.swa_num_blocks // 64,
    "one byte per 8192 blocks": lambda s: s.swa_num_blocks // 8192,
    "one byte per 2**19 blocks": lambda s: 1 + s.swa_num_blocks // 2**19,
    "only above 1e5 blocks": lambda s: s.swa_num_blocks * (s.swa_num_blocks > 1e5),
    "only above 1e5 blocks of both": lambda s: (
        s.swa_num_blocks * (min(s.swa_num_blocks, s.extra_num_blocks) > 1e5)
    ),
    "only below 10,000 blocks": lambda s: s.extra_num_blocks * (s.extra_num_blocks < 10_000),
    "only above the scenario's size": lambda s: s.swa_num_blocks * (s.swa_num_blocks > 32768),
    "only below the scenario's size": lambda s: s.swa_num_blocks * (s.swa_num_blocks < 32768),
    "only at one token": lambda s: s.swa_num_blocks * (s.num_tokens == 1),
    "only at many tokens": lambda s: s.swa_num_blocks * (s.num_tokens > 100),
    "only with many heads": lambda s: s.extra_num_blocks * (s.num_heads > 64),
    "only with a small top-k": lambda s: s.extra_num_blocks * (s.extra_topk < 100),
    "only at one token and above 1e5": lambda s: (
        s.swa_num_blocks * (s.num_tokens == 1 and s.swa_num_blocks > 1e5)
    ),
    "product with tokens": lambda s: s.num_tokens * s.swa_num_blocks,
    "product with tokens less one": lambda s: 16 + (s.num_tokens - 1) * s.swa_num_blocks,
    "product of both pools": lambda s: s.extra_num_blocks * s.swa_num_blocks,
    "pool padded to 128": lambda s: ceil_to(s.swa_num_blocks, 128) * 8,
    "pool padded to a power of two": lambda s: power_of_two(s.swa_num_blocks) * 8,
    "the larger pool": lambda s: max(s.swa_num_blocks, s.extra_num_blocks) * 8,
    "the smaller pool": lambda s: min(s.swa_num_blocks, s.extra_num_blocks) * 8,
}


@pytest.mark.parametrize("pool", [512, 221_839], ids=lambda n: f"pool={n}")
@pytest.mark.parametrize("num_bytes", FAULTS.values(), ids=FAULTS)
def test_growth_with_the_pool_fails_and_names_its_line(num_bytes, pool):
    """Bytes that depend on a pool anywhere are a FAIL that blames the line that asks for them."""
    judgement = verdict_on(faulty(num_bytes), at={"swa_num_blocks": pool, "extra_num_blocks": pool})
    assert judgement.verdict is Verdict.FAIL, judgement.reason
    assert {blame.function for blame in judgement.blame} == {"fault"}, judgement.reason
    assert "num_blocks" in judgement.reason


TWINS = {
    "nothing": lambda s: 0,
    "a constant": lambda s: 48 * MIB,
    "one byte per referenced block": lambda s: s.referenced_blocks,
    "compacted blocks": lambda s: s.referenced_blocks * s.block_size * 1024,
    "a branch at one token": lambda s: 4096 * (s.num_tokens == 1),
    "a branch at many tokens": lambda s: s.num_tokens * 4096 * (s.num_tokens > 100),
    "one bit per referenced block": lambda s: (s.referenced_blocks + 7) // 8,
    "referenced count padded to a power of two": lambda s: (
        power_of_two(s.referenced_blocks) * 64 * 584
    ),
    "tokens padded to 16": lambda s: ceil_to(s.num_tokens, 16) * s.num_heads * 2048,
    "top-k padded to 128": lambda s: s.num_tokens * ceil_to(s.extra_topk, 128) * 1024,
    "tokens times top-k padded to 128": lambda s: ceil_to(s.num_tokens * s.swa_topk, 128) * 64,
    "splits by waves": lambda s: (
        max(1, min(16, 304 // (s.num_tokens * (s.num_heads // 8)))) * s.num_tokens * 2048
    ),
    "index width": lambda s: s.num_tokens * max(s.swa_topk, s.extra_topk) * 8,
    "quadratic in top-k": lambda s: s.num_tokens * (s.swa_topk + s.extra_topk) * 512,
}


@pytest.mark.parametrize("pool", [512, 221_839], ids=lambda n: f"pool={n}")
@pytest.mark.parametrize("num_bytes", TWINS.values(), ids=TWINS)
def test_unusual_code_that_leaves_the_pool_alone_passes(num_bytes, pool):
    """Whatever its shape in the other axes, code that no pool changes is a PASS."""
    judgement = verdict_on(faulty(num_bytes), at={"swa_num_blocks": pool, "extra_num_blocks": pool})
    assert judgement.verdict is Verdict.PASS, judgement
    assert judgement.blame == ()


def hidden_under(cover, growth):
    """A program whose growing temporary is freed before something larger is allocated."""

    def program(heap, s):
        heap.passing("fault", growth(s))
        heap.passing("cover", cover(s))
        attention(heap, s)

    return program


COVERS = {
    "a constant": lambda s: 60 * MIB,
    "tokens": lambda s: s.num_tokens * 16 * MIB,
}
GROWTHS = {
    "one byte per block": lambda s: s.swa_num_blocks,
    "one bit per block": lambda s: (s.swa_num_blocks + 7) // 8,
    "only above 1e5 blocks": lambda s: s.swa_num_blocks * (s.swa_num_blocks > 1e5),
    "only at one token": lambda s: s.swa_num_blocks * (s.num_tokens == 1),
    "a power of two": lambda s: power_of_two(s.swa_num_blocks),
}


@pytest.mark.parametrize("cover", COVERS.values(), ids=COVERS)
@pytest.mark.parametrize("growth", GROWTHS.values(), ids=GROWTHS)
def test_growth_below_the_peak_fails_all_the_same(cover, growth):
    """Growth that a larger allocation hides at every size run wins for a large enough pool."""
    judgement = verdict_on(hidden_under(cover, growth))
    assert judgement.verdict is Verdict.FAIL, judgement.reason
    assert [blame.function for blame in judgement.blame] == ["fault"]


def test_hidden_growth_says_where_it_becomes_the_peak():
    """The reason names the size from which the hidden regime is the peak, exactly."""

    def program(heap, s):
        heap.passing("fault", s.swa_num_blocks)
        heap.passing("cover", 60 * MIB)

    assert verdict_on(program).reason == (
        "peak grows with swa_num_blocks (1 byte per block), "
        "hidden by other allocations until swa_num_blocks=62,914,560"
    )


def over_pool_blocks(*, keeps):
    """A loop over chunks of 1,024 pool blocks with one constant buffer in each turn."""

    def program(heap, s):
        handles = []
        for _ in range(-(-s.swa_num_blocks // 1024)):
            handles.append(heap.alloc("chunk", 4096))
            if not keeps:
                heap.free(handles.pop())
        attention(heap, s)
        heap.free(*handles)

    return program


SMALL_FAR = {"swa_num_blocks": 4096, "extra_num_blocks": 4096}


def test_a_loop_over_the_pool_that_frees_what_it_takes_passes():
    """A number of turns that depends on the pool is no growth of the peak."""
    judgement = verdict_on(over_pool_blocks(keeps=False), at=SMALL_FAR)
    assert judgement.verdict is Verdict.PASS, judgement.reason


def test_a_loop_over_the_pool_that_keeps_what_it_takes_fails():
    """The line in the loop is blamed with what all its turns hold together."""
    judgement = verdict_on(over_pool_blocks(keeps=True), at=SMALL_FAR)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.reason == "peak grows with swa_num_blocks (4 bytes per block)"
    (blame,) = judgement.blame
    assert ("chunk", 4 * 4096, 4.0) == (blame.function, blame.bytes, blame.bytes_per_unit)


def streaming(chunk):
    def program(heap, s):
        accumulator = heap.alloc("accumulator", s.num_tokens * s.num_heads * 2048)
        for start in range(0, s.extra_topk, chunk):
            width = min(chunk, s.extra_topk - start)
            rows = heap.alloc("rows", s.num_tokens * width * 2048)
            heap.passing("scores", s.num_tokens * s.num_heads * width * 4)
            heap.free(rows)
        heap.free(accumulator)

    return program


@pytest.mark.parametrize("chunk", [16, 64, 100, 512, 4096])
def test_chunks_over_top_k_pass(chunk):
    """A step that streams over its top-k in chunks of any size passes."""
    judgement = verdict_on(streaming(chunk))
    assert judgement.verdict is Verdict.PASS, judgement


def test_a_loop_over_tokens_that_keeps_rows_of_top_k_has_the_law_of_their_product():
    """What a loop keeps is its turns times one turn's request, whichever axes they come from."""

    def program(heap, s):
        handles = [heap.alloc("row", s.extra_topk * 1024) for _ in range(s.num_tokens)]
        heap.passing("cat", s.num_tokens * s.extra_topk * 1024)
        heap.free(*handles)

    derivation = law_of(program)
    assert str(derivation.law) == "2048*num_tokens*extra_topk"
    assert derivation.is_global
