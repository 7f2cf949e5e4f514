from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from paged_sums import BARE, FACETS, healthy

from oom_suite.records import Verdict
from oom_suite.safety import writes
from oom_suite.safety.steps import Target, plain_steps
from oom_suite.safety.writes import Writes
from oom_suite.workloads.sparse_mla.builtins import BUILTINS, token_gather_decode


def past(tensor, num_elements):
    """The element so many behind a tensor's first, wherever it lies."""
    return tensor.as_strided((1,), (1,), tensor.storage_offset() + num_elements)


@pytest.mark.parametrize("name", BUILTINS)
@pytest.mark.parametrize("workload", ["decode", "decode-swa"])
def test_built_ins_write_output_and_nothing_else(safety_target, name, workload):
    """All of output is written, rows of length zero included, and no other byte."""
    finding = Writes()(safety_target(workload=workload, call=BUILTINS[name]))
    assert (Verdict.PASS, ()) == (finding.verdict, finding.hits)


@pytest.mark.parametrize(
    ("behind", "first_byte"),
    [(0, 3 * 8 * 512 * 2), (-1 - 3 * 8 * 512, -2)],
    ids=["after", "before"],
)
def test_one_element_beside_output_is_found(safety_target, behind, first_byte):
    """The element just past either end of output is in a red zone, one byte from its edge."""

    def fault(step):
        past(step["output"], step["output"].numel() + behind).fill_(1.0)

    hit = Writes()(safety_target(fault)).hits[0]
    assert ("writes-outside", "output", 1) == (
        hit.kind,
        hit.region.tensor,
        hit.region.distance_bytes,
    )
    assert first_byte <= hit.region.first_byte < first_byte + 2


def test_the_last_element_of_output_may_be_written(safety_target):
    """The healthy twin writes the very last element again."""

    def twin(step):
        past(step["output"], step["output"].numel() - 1).fill_(0.5)

    assert Verdict.PASS is Writes()(safety_target(twin)).verdict


@pytest.mark.parametrize(
    ("name", "kind"),
    [("swa_k_cache", "writes-cache"), ("q", "writes-input"), ("swa_lens", "writes-input")],
)
def test_one_changed_byte_of_an_input_is_found(safety_target, name, kind):
    """The last element of a cache, of q or of lens, changed, is a hit with its place."""

    def fault(step):
        flat = step[name].flatten() if name != "swa_k_cache" else step[name][-1, -1]
        step[name][(-1,) * step[name].dim()] = flat[-1] + 1

    hit = Writes()(safety_target(fault, workload="decode-swa")).hits[0]
    assert (kind, name) == (hit.kind, hit.region.tensor)
    if kind == "writes-cache":
        assert (23, 7, 1) == (hit.region.block, hit.region.slot, hit.region.num_bytes)


def test_writes_into_page_padding_are_writes_into_the_cache(safety_target):
    """Padding belongs to the pool: a workspace may not be hidden there."""

    def fault(step):
        pool = step["kv_cache"]
        if pool is not None and pool.stride(0) > pool.shape[1] * 584:
            past(pool, pool.shape[1] * 584).fill_(3)

    hit = Writes()(safety_target(fault)).hits[0]
    assert ("writes-cache", 0, None) == (hit.kind, hit.region.block, hit.region.slot)


def _leaving(rows):
    def decode(output, **step):
        whole = torch.empty_like(output)
        token_gather_decode(output=whole, **step)
        rows(output, whole, step)

    return decode


def test_a_row_left_unwritten_is_found(safety_target):
    """Rows of length zero that are skipped keep what stood there before."""

    def rows(output, whole, step):
        for token in range(len(output)):
            if step["swa_lens"][token] > 0:
                output[token] = whole[token]

    hit = Writes()(safety_target(call=_leaving(rows), workload="decode-swa")).hits[0]
    assert ("leaves-output-unwritten", 0, 8 * 512 * 2) == (
        hit.kind,
        hit.region.first_byte,
        hit.region.num_bytes,
    )
    assert "4,096 of 12,288 elements" in hit.text


def test_a_single_element_left_unwritten_is_found(safety_target):
    """One element of one row is enough."""

    def rows(output, whole, step):
        output.flatten()[:-1] = whole.flatten()[:-1]

    hit = Writes()(safety_target(call=_leaving(rows), workload="decode-swa")).hits[0]
    assert ("leaves-output-unwritten", 2) == (hit.kind, hit.region.num_bytes)


def test_nan_that_is_computed_is_written(safety_target):
    """A result of NaN is no unwritten element: arithmetic gives another NaN."""

    def rows(output, whole, step):
        output.copy_(whole * float("nan"))

    assert Verdict.PASS is Writes()(safety_target(call=_leaving(rows))).verdict


def test_a_workspace_of_its_own_may_be_written(safety_target):
    """What the step allocates is its own."""

    def twin(step):
        torch.empty_like(step["q"]).fill_(1.0)

    assert Verdict.PASS is Writes()(safety_target(twin)).verdict


def test_a_step_that_raises_proves_nothing(safety_target):
    """What a plain step raises is the reason; nothing is green."""

    def broken(**step):
        raise ValueError("no")

    finding = Writes()(safety_target(call=broken))
    assert (Verdict.INCONCLUSIVE, True) == (finding.verdict, "ValueError: no" in finding.reason)


def test_a_pass_says_what_changed_and_how_much_was_compared(safety_target):
    """Every byte of every tensor and its red zones, in each step, twice."""
    seen = []

    def counting(step):
        tensors = (one for one in step.values() if isinstance(one, torch.Tensor))
        seen.append(sum(one.untyped_storage().nbytes() for one in tensors))

    finding = Writes()(safety_target(counting, workload="decode-swa"))
    assert f"only output changed of {sum(seen):,} bytes compared, and all of it was written" == (
        finding.reason
    )
    steps = plain_steps(safety_target(workload="decode-swa"))
    assert 2 * len(steps) == len(seen)


def test_a_call_that_returns_its_result_must_not_change_a_byte():
    workload = replace(BARE, **FACETS)
    target = Target(healthy, Path(__file__).parent, workload, torch.device("cpu"))
    finding = Writes()(target)
    assert Verdict.PASS is finding.verdict
    number = finding.reason.removeprefix("not one of ").partition(" ")[0]
    assert f"not one of {number} bytes compared was changed" == finding.reason
    assert int(number.replace(",", "")) > 3 * 2 * (64 << 10)


@pytest.mark.parametrize(
    ("changed", "first", "last"), [((0,), 0, 0), ((5, 9), 5, 9), ((2, 3, 4), 2, 4)]
)
def test_a_changed_input_is_told_from_its_first_byte_to_its_last(
    safety_target, changed, first, last
):
    def fault(step):
        for byte in changed:
            step["q"].flatten().view(torch.uint8)[byte] ^= 1

    hit = Writes()(safety_target(fault, workload="decode-swa")).hits[0]
    variant = hit.text.rpartition("(")[2].rstrip(")")
    assert f"q changed within bytes {first:,} to {last:,} ({variant})" == hit.text
    assert ("q", "input", None, None, first, last - first + 1, None) == (
        hit.region.tensor,
        hit.region.what,
        hit.region.block,
        hit.region.slot,
        hit.region.first_byte,
        hit.region.num_bytes,
        hit.region.distance_bytes,
    )


def test_a_changed_pool_is_told_with_the_block_and_slot_of_its_first_byte(safety_target):
    def fault(step):
        pool = step["swa_k_cache"]
        pool[3].flatten().view(torch.uint8)[0] ^= 1

    hit = Writes()(safety_target(fault, workload="decode-swa")).hits[0]
    first_byte = hit.region.first_byte
    assert ("writes-cache", 3) == (hit.kind, hit.region.block)
    assert hit.text.startswith(
        f"swa_k_cache changed within bytes {first_byte:,} to {first_byte:,} "
        f"(block 3, slot {hit.region.slot}) ("
    )


@pytest.mark.parametrize(("side", "at"), [("after", 0), ("after", 6), ("before", -1)])
def test_a_write_outside_is_told_by_its_side_its_bytes_and_how_far(safety_target, side, at):
    def fault(step):
        output = step["output"]
        end = output.numel() if side == "after" else 0
        past(output, end + at).view(torch.uint8).bitwise_xor_(255)

    hit = Writes()(safety_target(fault, workload="decode-swa")).hits[0]
    first_byte, distance = hit.region.first_byte, hit.region.distance_bytes
    size_bytes = 3 * 8 * 512 * 2
    expected = (size_bytes + 2 * at, 2 * at + 1) if side == "after" else (-2, 1)
    assert expected == (first_byte, distance)
    assert hit.text.startswith(
        f"2 bytes written {side} output, from byte {first_byte:,}, {distance:,} past its edge ("
    )


def test_each_kind_and_tensor_is_told_once(safety_target):
    """The first of the steps that shows it; what is no write of one tensor is one of another."""

    def fault(step):
        step["q"].flatten()[0] += 1
        step["attn_sink"][0] += 1
        past(step["q"], step["q"].numel()).view(torch.uint8).bitwise_xor_(255)

    found = Writes()(safety_target(fault, workload="decode-swa"))
    assert [("writes-outside", "q"), ("writes-input", "q"), ("writes-input", "attn_sink")] == [
        (hit.kind, hit.region.tensor) for hit in found.hits
    ]
    assert found.hits[0].text == found.reason
    assert 1 == len({hit.text.rpartition("(")[2] for hit in found.hits})


def test_rows_left_unwritten_are_listed_up_to_the_eighth(safety_target):
    def rows(output, whole, step):
        output.view(torch.int16)[0, 0, 0] = output.view(torch.int16)[0, 0, 0]
        output[1:] = whole[1:]
        output[0, :, 2:] = whole[0, :, 2:]

    hit = Writes()(safety_target(call=_leaving(rows), workload="decode-swa")).hits[0]
    variant = hit.text.rpartition("(")[2].rstrip(")")
    assert f"16 of 12,288 elements of output were not written, in rows 0 ({variant})" == hit.text
    assert (0, 2 * (7 * 512 + 2)) == (hit.region.first_byte, hit.region.num_bytes)
    assert ("output", "unwritten") == (hit.region.tensor, hit.region.what)


def test_rows_are_listed_by_their_numbers_and_eight_at_the_most():
    unwritten = torch.zeros(12, 2, dtype=torch.bool)
    unwritten[1:11, 1] = True
    output = torch.zeros(12, 2, dtype=torch.float32)
    (hit,) = writes._unwritten_hits(unwritten, output, "out", "here")
    assert (
        "10 of 24 elements of out were not written, in rows 1, 2, 3, 4, 5, 6, 7, 8 (here)"
    ) == hit.text
    assert (4 * 3, 4 * 19) == (hit.region.first_byte, hit.region.num_bytes)
    assert [] == list(writes._unwritten_hits(unwritten & False, output, "out", "here"))


@pytest.mark.parametrize(
    ("dtype", "filled"),
    [
        (torch.uint8, [0xA5] * 6),
        (torch.bfloat16, [0xA5, 0x7F] * 3),
        (torch.int32, [0xA5, 0x7F] * 4),
    ],
)
def test_an_element_is_filled_with_both_bytes_and_a_single_byte_with_the_low_one(dtype, filled):
    own = torch.zeros(len(filled), dtype=torch.uint8)
    step = SimpleNamespace(
        buffers={"out": SimpleNamespace(own_bytes=own)}, step={"out": torch.empty(0, dtype=dtype)}
    )
    writes._prefill(step, "out", 0x7FA5)
    assert filled == own.tolist()


def test_an_element_keeps_what_it_was_filled_with_only_where_all_its_bytes_do():
    """Also where the output's rows are apart."""
    own = torch.zeros(14, dtype=torch.uint8)
    before = own.clone()
    own[3], own[8], own[9] = 1, 1, 1
    output = torch.zeros(7, dtype=torch.int16).as_strided((2, 3), (4, 1))
    step = SimpleNamespace(buffers={"out": SimpleNamespace(own_bytes=own)}, step={"out": output})
    assert [[True, False, True], [False, True, True]] == (
        writes._untouched(step, "out", before).tolist()
    )
