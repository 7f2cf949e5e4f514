"""How reads of poisoned memory are searched for, how many are told, and in which words."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_reads import INDICES, POOL, leak, parts_of, storage_byte

from oom_suite.records import Verdict
from oom_suite.records.safety import Region
from oom_suite.safety.reads import Reads, narrowed, smallest


@given(st.integers(1, 40), st.sets(st.integers(0, 39), min_size=1))
def test_the_part_that_is_left_changes_the_result_and_no_half_of_it_does(number, guilty):
    """One alone is found by itself; of several that change it together, all are kept."""
    guilty = {one % number for one in guilty}
    calls = []

    def changes(items):
        calls.append(1)
        return guilty <= set(items)

    left = smallest(range(number), changes)
    assert guilty <= set(left)
    half = len(left) // 2
    assert len(left) == 1 or not (guilty <= set(left[:half]) or guilty <= set(left[half:]))
    if len(guilty) == 1:
        assert guilty == set(left)
        assert len(calls) <= 2 * number.bit_length()


def test_of_two_that_change_the_result_each_by_itself_the_first_is_found():
    assert (3,) == smallest(range(10), lambda items: bool({3, 4, 8} & set(items)))
    assert (7,) == smallest([7], lambda items: True)
    assert (8, 9) == smallest((8, 9), lambda items: len(items) > 1)


@given(st.integers(-50, 50), st.integers(1, 60), st.booleans(), st.data())
def test_a_region_is_narrowed_until_no_byte_at_either_end_can_be_spared(
    start, num_bytes, together, data
):
    """Bytes that change the result together are all kept; of others the last is found."""
    read = data.draw(st.sets(st.integers(start, start + num_bytes - 1), min_size=1))

    def changes(part):
        are_in = [part.first_byte <= byte < part.first_byte + part.num_bytes for byte in read]
        return all(are_in) if together else any(are_in)

    found = narrowed(Region("t", "what", 1, 2, start, num_bytes, 3), changes)
    first = min(read) if together else max(read)
    assert Region("t", "what", 1, 2, first, max(read) - first + 1, 3) == found


def test_a_hit_says_what_was_read_where_and_how_far_from_the_nearest_referenced(safety_target):
    def fault(step):
        part = parts_of(step, "unreferenced token")[0]
        leak(step, storage_byte(step[POOL], part.first_byte + 3))

    finding = Reads()(safety_target(fault, workload="decode-swa"))
    hit = finding.hits[0]
    region = hit.region
    variant = hit.text.rpartition(", ")[2].rstrip(")")
    assert (
        f"unreferenced token of {POOL} block {region.block} slot {region.slot}, bytes "
        f"{region.first_byte:,} to {region.first_byte:,}, {region.distance_bytes:,} bytes from "
        f"the nearest referenced (NaN poison, {variant})"
    ) == hit.text
    assert f"the result depends on {hit.text}" == finding.reason
    assert hit.frame is None


def test_a_run_of_bytes_ends_at_its_last_one(safety_target):
    """Three bytes of a token, of which the first and the last are read and count together."""

    def fault(step):
        part = parts_of(step, "unreferenced token")[0]
        first = part.first_byte + 3
        both = [storage_byte(step[POOL], first + at) == 0xFF for at in (0, 2)]
        leak(step, all(both))

    hit = Reads()(safety_target(fault, workload="decode-swa")).hits[0]
    assert 3 == hit.region.num_bytes
    first_byte = hit.region.first_byte
    assert f", bytes {first_byte:,} to {first_byte + 2:,}, " in hit.text


def test_a_red_zone_is_named_whole_without_block_or_distance(safety_target):
    """Zones of what is no pool are not narrowed: what stands there are sizes."""

    def fault(step):
        lens = step["swa_lens"]
        behind = lens.as_strided((1,), (1,), lens.storage_offset() + lens.numel())
        leak(step, int(behind) & 3)

    hit = Reads()(safety_target(fault, workload="decode-swa")).hits[0]
    region = hit.region
    assert (None, None) == (region.block, region.slot)
    assert region.num_bytes >= 64 << 10
    end = region.first_byte + region.num_bytes - 1
    assert hit.text.startswith(
        f"red zone after of swa_lens, bytes {region.first_byte:,} to {end:,}"
    )
    assert "reads-red-zone-after" == hit.kind


@pytest.mark.parametrize(("num_read", "num_told"), [(1, 1), (3, 3), (4, 4), (6, 4)])
def test_up_to_four_reads_of_a_step_are_told(safety_target, num_read, num_told):
    """Of as many tokens, each a region of its own, each told once whatever poison shows it."""

    def fault(step):
        for number, part in enumerate(parts_of(step, "unreferenced token")[:num_read]):
            leak(step, (storage_byte(step[POOL], part.first_byte) & 1) << number)

    hits = Reads()(safety_target(fault, workload="decode-swa")).hits
    by_step = {}
    for hit in hits:
        step = hit.text.rpartition(", ")[2]
        by_step.setdefault(step, []).append((hit.region.block, hit.region.slot))
    for places in by_step.values():
        assert num_told == len(places) == len(set(places))


def test_unwritten_memory_is_told_beside_the_reads_and_by_the_first_poison(safety_target):
    def fault(step):
        part = parts_of(step, "unreferenced token")[0]
        leak(step, storage_byte(step[POOL], part.first_byte) & 1)
        leak(step, (int(torch.empty(8, dtype=torch.int32)[3]) & 1) << 1)

    hits = Reads()(safety_target(fault, workload="decode-swa")).hits
    token, unwritten = hits[:2]
    assert "reads-unreferenced-token" == token.kind
    assert ("reads-uninitialised-memory", None) == (unwritten.kind, unwritten.region)
    assert unwritten.text.startswith(f"memory that nobody wrote at {unwritten.frame} (NaN poison, ")
    assert "test_reads_in_detail.py" == unwritten.frame.file


def test_of_several_unwritten_tensors_the_one_that_is_read_is_named(safety_target):
    def fault(step):
        for _ in range(3):
            torch.empty(4).zero_()
        read = torch.empty(4, dtype=torch.int32)  # the line that the hit must name
        torch.empty(4)
        leak(step, int(read[0]) & 3)

    (hit,) = Reads()(safety_target(fault, workload="decode-swa")).hits
    assert fault.__code__.co_firstlineno + 3 == hit.frame.line


def test_a_pass_says_how_many_bytes_were_poisoned(safety_target):
    """All the parts of all the steps."""
    finding = Reads()(safety_target(workload="decode-swa"))
    assert Verdict.PASS is finding.verdict
    number = finding.reason.partition(" ")[0]
    assert f"{number} unreferenced bytes poisoned in three ways, not a bit changed" == (
        finding.reason
    )
    seen = []

    def counting(step):
        slots = {int(slot) for slot in step[INDICES].flatten()}
        seen.append(slots)

    again = Reads()(safety_target(counting, workload="decode-swa"))
    assert finding.reason == again.reason
    assert int(number.replace(",", "")) > 2 * 64 << 10


def test_what_cannot_be_compared_names_the_step(safety_target):
    def broken(**step):
        raise ValueError("no")

    finding = Reads()(safety_target(call=broken, workload="decode-swa"))
    name = finding.reason.removeprefix("a plain step (").partition(")")[0]
    assert f"a plain step ({name}) raised ValueError: no" == finding.reason

    def noise(step):
        step["output"].add_(torch.randn(()))

    finding = Reads()(safety_target(noise, workload="decode-swa"))
    assert (Verdict.INCONCLUSIVE, f"two equal calls ({name}) gave different bits") == (
        finding.verdict,
        finding.reason,
    )
