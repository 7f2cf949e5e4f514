from __future__ import annotations

import pytest
import torch

from oom_suite.records import Verdict
from oom_suite.safety.poison import named_slots
from oom_suite.safety.reads import Reads
from oom_suite.workloads.sparse_mla.builtins import BUILTINS
from oom_suite.workloads.sparse_mla.caches.unreferenced import unreferenced
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.workload import DECODE_SWA

(SWA,) = DECODE_SWA.pools

POOL, INDICES, LENS = "swa_k_cache", "swa_indices", "swa_lens"


def storage_byte(tensor, offset):
    """The byte at this offset from a tensor's first, wherever it lies."""
    first = tensor.storage_offset() * tensor.element_size() + offset
    whole = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
    return int(whole[first])


def leak(step, value):
    """The value reaches the result: one bit or more of it changes with any bit of the value."""
    step["output"].view(torch.int16)[0, 0, 0] ^= int(value)


def parts_of(step, what):
    slots = named_slots(SWA, step)
    parts = unreferenced(POOL, step[POOL], slots, FP8_DS_MLA_V4)
    return [part for part in parts if part.what == what]


@pytest.mark.parametrize("name", BUILTINS)
@pytest.mark.parametrize("workload", ["decode", "decode-swa"])
def test_built_ins_read_nothing_they_should_not(safety_target, name, workload):
    """The four built-ins pass; decoding the whole pool and discarding it leaves no trace."""
    finding = Reads()(safety_target(workload=workload, call=BUILTINS[name]))
    assert (Verdict.PASS, ()) == (finding.verdict, finding.hits)


@pytest.mark.parametrize(
    "what", ["unreferenced token", "unreferenced scales", "unreferenced block", "pad byte"]
)
@pytest.mark.parametrize("last", [False, True], ids=["first byte", "last byte"])
def test_one_byte_of_anything_unreferenced_is_found_to_the_byte(safety_target, what, last):
    """A read of a single byte, the first or the last of its region, is named exactly."""
    seen = []

    def fault(step):
        part = parts_of(step, what)[0]
        at = part.first_byte + (part.num_bytes - 1 if last else 0)
        seen[:] = [(part.block, part.slot, at)]
        leak(step, storage_byte(step[POOL], at))

    finding = Reads()(safety_target(fault, workload="decode-swa"))
    assert Verdict.FAIL is finding.verdict
    hit = finding.hits[0]
    region = hit.region
    assert f"reads-{what.replace(' ', '-')}" == hit.kind
    assert [(region.block, region.slot, region.first_byte)] == seen
    assert (POOL, 1) == (region.tensor, region.num_bytes)


def test_a_token_too_far_is_one_byte_from_the_nearest_referenced(safety_target):
    """The over-read of the token behind a named one touches what may be read."""

    def fault(step):
        slots = named_slots(SWA, step)
        block_size = step[POOL].shape[1]
        near = min(s for s in slots if s + 1 not in slots and (s + 1) % block_size)
        block, slot = divmod(near + 1, block_size)
        leak(step, storage_byte(step[POOL], block * step[POOL].stride(0) + slot * 576))

    hit = Reads()(safety_target(fault, workload="decode-swa")).hits[0]
    assert ("reads-unreferenced-token", 1) == (hit.kind, hit.region.distance_bytes)


def test_the_last_referenced_byte_may_be_read(safety_target):
    """The healthy twin: the last byte of a named token's data and of its seven scales."""

    def twin(step):
        slot = max(named_slots(SWA, step))
        block_size = step[POOL].shape[1]
        block, token = divmod(slot, block_size)
        page = block * step[POOL].stride(0)
        leak(step, storage_byte(step[POOL], page + token * 576 + 575))
        leak(step, storage_byte(step[POOL], page + block_size * 576 + token * 8 + 6))

    assert Verdict.PASS is Reads()(safety_target(twin, workload="decode-swa")).verdict


def test_laundered_nan_is_caught_by_large_finite_values(safety_target):
    """Code that drops NaN hides from the NaN poison, and from no other."""

    def fault(step):
        part = parts_of(step, "unreferenced token")[0]
        byte = torch.tensor([storage_byte(step[POOL], part.first_byte)], dtype=torch.uint8)
        value = byte.view(torch.float8_e4m3fn).float()
        value[value.isnan()] = 0.0
        leak(step, int(value.clamp_min(16.0)))

    hit = Reads()(safety_target(fault, workload="decode-swa")).hits[0]
    assert "reads-unreferenced-token" == hit.kind
    assert "large finite poison" in hit.text


def test_page_padding_is_unreferenced(safety_target):
    """A byte behind the last scale of a padded page is nobody's."""

    def fault(step):
        pool = step["kv_cache"]
        if pool is not None and pool.stride(0) > pool.shape[1] * 584:
            leak(step, storage_byte(pool, pool.shape[1] * 584))

    hit = Reads()(safety_target(fault)).hits[0]
    assert ("reads-page-padding", 1) == (hit.kind, hit.region.num_bytes)


@pytest.mark.parametrize("name", ["q", "swa_indices", "swa_lens", "attn_sink", "swa_k_cache"])
def test_an_element_past_an_input_is_found(safety_target, name):
    """One element behind the last of any input lies in its red zone."""

    def fault(step):
        tensor = step[name]
        if tensor is not None:
            num_bytes = tensor.untyped_storage().nbytes()
            assert num_bytes > tensor.nbytes
            span = tensor.shape[0] * tensor.stride(0) * tensor.element_size()
            leak(step, storage_byte(tensor, span) & 3)

    hits = Reads()(safety_target(fault)).hits
    assert {("reads-red-zone-after", name)} == {(h.kind, h.region.tensor) for h in hits}


def unwritten(step):
    workspace = torch.empty(4)  # the line that the hit must name
    leak(step, int(workspace[3:].view(torch.int16)[0]))


def test_memory_that_nobody_wrote_is_found_with_its_line(safety_target):
    """A workspace that is read before it is written is named by the line that took it."""
    finding = Reads()(safety_target(unwritten, workload="decode-swa"))
    (hit,) = finding.hits
    line = unwritten.__code__.co_firstlineno + 1
    assert ("reads-uninitialised-memory", "test_reads.py", line) == (
        hit.kind,
        hit.frame.file,
        hit.frame.line,
    )


def laundered(step):
    workspace = torch.empty(4)  # the line that the hit must name
    values = torch.where(workspace == workspace, workspace, 0.0)
    leak(step, int(values[3:].view(torch.int16)[0]))


def test_unwritten_memory_whose_nan_is_dropped_is_caught_by_large_finite_values(safety_target):
    """``x == x`` hides NaN alone: the second poison reaches the result, and names the line."""
    (hit,) = Reads()(safety_target(laundered, workload="decode-swa")).hits
    line = laundered.__code__.co_firstlineno + 1
    assert ("reads-uninitialised-memory", line) == (hit.kind, hit.frame.line)
    assert "large finite poison" in hit.text


def test_memory_written_before_it_is_read_is_fine(safety_target):
    """The healthy twin writes exactly what it reads of an unwritten workspace."""

    def twin(step):
        workspace = torch.empty(4)
        workspace[3] = 1.0
        leak(step, int(workspace[3:].view(torch.int16)[0]))

    assert Verdict.PASS is Reads()(safety_target(twin)).verdict


def test_a_step_that_raises_is_inconclusive(safety_target):
    """What a plain step raises is the reason; nothing is green."""

    def broken(**step):
        raise ValueError("no")

    finding = Reads()(safety_target(call=broken))
    assert Verdict.INCONCLUSIVE is finding.verdict
    assert "raised ValueError: no" in finding.reason


def test_a_step_whose_result_varies_is_inconclusive(safety_target):
    """Two equal calls with different results leave nothing to compare with."""

    def noise(step):
        step["output"].add_(torch.randn(()))

    assert "different bits" in Reads()(safety_target(noise)).reason
