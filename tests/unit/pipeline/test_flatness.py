"""``bounded_in`` and ``constant_after``: from which size on the peak stays, to the unit."""

from __future__ import annotations

import pytest
import torch
from studied import studied

from oom_suite.records import Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
AXES = {"tokens": 64, "vocab": 16}


def chunked(chunk, extra=lambda tokens, device: ()):
    """Code that takes rows in chunks, each freed before the next; and something more."""

    def build(sizes, device):
        x = torch.zeros(sizes.tokens, sizes.vocab, device=device)

        def call():
            total = torch.zeros((), device=x.device)
            for start in range(0, x.shape[0], chunk):
                total += x[start : start + chunk].exp().sum()
            extra(x.shape[0], x.device)
            return total

        return call

    return build


def capped(most):
    """Code without a loop, which symbols go through."""

    def build(sizes, device):
        rows, vocab = sizes.tokens, sizes.vocab
        return lambda: torch.zeros(most if rows > most else rows, vocab, device=device)

    return build


def grows(sizes, device):
    x = torch.zeros(sizes.tokens, sizes.vocab, device=device)
    return lambda: x * 2


def grows_in_a_loop(sizes, device):
    x = torch.zeros(sizes.tokens, sizes.vocab, device=device)
    return lambda: [row * 2 for row in x.split(64)]


def test_code_in_chunks_is_bounded_and_the_size_is_found():
    """Flat from 1,024 on; nothing else has to be said."""
    result = studied(chunked(1024), axes=AXES, bounded_in="tokens")
    assert (PASS, {"tokens": 1024}) == (result.verdict, result.flat_from)
    assert "flat from tokens=1,024 on" == result.reason
    (note,) = (note for note in result.notes if note.startswith("flat from"))
    assert note.endswith("allocate alike; not proved beyond")


@pytest.mark.parametrize(("start", "verdict"), [(1023, FAIL), (1024, PASS), (1500, PASS)])
@pytest.mark.parametrize("build", [chunked(1024), capped(1024)], ids=["loop", "no loop"])
def test_a_peak_is_constant_after_1024_and_not_after_1023(build, start, verdict):
    """One token earlier breaks the promise, with the sizes, the line and what was seen."""
    result = studied(build, axes=AXES, constant_after={"tokens": start})
    assert verdict is result.verdict, result.reason
    if verdict is FAIL:
        assert result.reason.startswith("peak depends on tokens from tokens=1,023 on: ")
        assert "at tokens=1,023" in result.breach.seen
        assert "test_flatness.py" in result.blame[0].file
        assert result.blame[0].sizes["tokens"] > 1023
    else:
        assert result.reason == f"the same peak from tokens={start:,} on"


@pytest.mark.parametrize("build", [grows, grows_in_a_loop])
def test_growth_without_an_end_is_not_bounded(build):
    """In a closed form and in a loop; the line and a term or what was seen are named."""
    result = studied(build, axes=AXES, bounded_in="tokens")
    assert (FAIL, {}) == (result.verdict, result.flat_from)
    assert "peak still grows with tokens at the largest sizes run" in result.reason
    assert result.breach.terms or result.breach.seen
    assert result.blame


def test_what_grows_below_the_peak_will_be_the_peak_one_day():
    """Four bytes a chunk, far below the peak, at the end."""

    def extra(tokens, device):
        return torch.zeros(max(1, tokens // 1024), device=device)

    result = studied(chunked(1024, extra), axes=AXES, bounded_in="tokens")
    assert FAIL is result.verdict
    assert "an allocation below the peak keeps growing with tokens" in result.reason


def test_each_chunk_that_leaves_a_byte_is_growth():
    def build(sizes, device):
        x = torch.zeros(sizes.tokens, sizes.vocab, device=device)
        return lambda: [x[start : start + 1024].exp().sum() for start in range(0, len(x), 1024)]

    assert FAIL is studied(build, axes=AXES, bounded_in="tokens").verdict


def test_other_axes_may_move_the_size_and_it_is_said():
    """Chunks of `block` rows: flat from the block size on, whatever that is."""

    def build(sizes, device):
        x = torch.zeros(sizes.tokens, 16, device=device)
        block = int(sizes.block)

        def call():
            for start in range(0, x.shape[0], block):
                x[start : start + block].exp().sum()

        return call

    axes = {"tokens": 64, "block": 256}
    result = studied(build, axes=axes, bounded_in="tokens", far={"block": (64, 512)})
    assert PASS is result.verdict, result.reason
    assert "flat from tokens=256 on (from 512 on at block=512)" == result.reason
    result = studied(build, axes=axes, constant_after={"tokens": 256}, far={"block": (64, 256)})
    assert PASS is result.verdict
    result = studied(build, axes=axes, constant_after={"tokens": 256}, far={"block": (64, 257)})
    assert FAIL is result.verdict
    assert "(with block=257)" in result.reason


def test_padding_that_keeps_a_peak_over_some_doublings_is_no_end():
    """Rows are padded to 512: 64, 128 and 256 of them take as much, and 1,024 take more."""

    def build(sizes, device):
        rows = -(-int(sizes.tokens) // 512) * 512
        return lambda: torch.zeros(min(rows, 2048), 16, device=device)

    result = studied(build, axes={"tokens": 64}, bounded_in="tokens")
    assert (PASS, {"tokens": 1537}) == (result.verdict, result.flat_from)


def test_a_proof_is_named_where_there_is_one():
    """Of sizes from the start on, symbols know that the cap is taken."""
    result = studied(capped(1024), axes=AXES, bounded_in="tokens")
    assert (PASS, {"tokens": 1024}) == (result.verdict, result.flat_from)
    assert "flat from tokens=1,024 on: proved in closed form" in result.notes


def test_the_hosts_memory_is_held_to_it_as_well():
    def build(sizes, device):
        x = torch.zeros(sizes.tokens, 64, device=device)
        return lambda: x.cpu()

    result = studied(build, axes={"tokens": 8192}, bounded_in="tokens")
    assert FAIL is result.verdict
    assert result.reason.startswith("host memory: peak still grows with tokens")
    assert PASS is studied(build, axes={"tokens": 8192}, bounded_in="tokens", host=False).verdict


def test_code_that_runs_at_few_sizes_is_not_judged_and_says_what_to_do():
    def build(sizes, device):
        x = torch.zeros(sizes.tokens, 16, device=device)

        def call():
            if x.shape[0] > 100:
                msg = "too many"
                raise ValueError(msg)
            return x * 2

        return call

    result = studied(build, axes={"tokens": 64}, bounded_in="tokens")
    assert INCONCLUSIVE is result.verdict
    assert result.advice
