"""The gather as a workload: its reference keeps the promise, and a fault of each kind is found."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from oom_suite.doors import workload
from oom_suite.records import Verdict
from oom_suite.safety.addresses import Addresses
from oom_suite.safety.capture import Capture
from oom_suite.safety.indices import BadIndices
from oom_suite.safety.precision import Precision
from oom_suite.safety.reads import Reads
from oom_suite.safety.steps import Target, find
from oom_suite.safety.writes import Writes
from oom_suite.workloads.sparse_mla.builtins.rows import Fp8Rows
from oom_suite.workloads.sparse_mla.kernels.gather import dequantize_and_gather_k_cache_sparse

DETECTORS = {one.name: one for one in (Reads, Writes, BadIndices, Addresses, Precision, Capture)}


def found(name, call):
    """The finding of one detector on the CPU."""
    known = workload("gather")
    target = Target(call, Path(__file__).parent, known, torch.device("cpu"))
    return find(DETECTORS[name](), target)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_reference_passes_every_detector(name):
    """In torch, which is what a CPU takes; the twin of the faults below."""
    finding = found(name, dequantize_and_gather_k_cache_sparse)
    assert (Verdict.PASS, ()) == (finding.verdict, finding.hits), finding.reason


def rows_of(k_cache, slots, block_size):
    pool = Fp8Rows.of_pool(k_cache, 448, 64, torch.float8_e4m3fn)
    return pool.at(slots // block_size, slots % block_size).decode(torch.bfloat16)


def adds_the_next_token(out, k_cache, slot_indices, block_size):
    dequantize_and_gather_k_cache_sparse(out, k_cache, slot_indices, block_size)
    after = (slot_indices.long() + 1).clamp(max=k_cache.shape[0] * block_size - 1)
    out += 0.0 * rows_of(k_cache, after, block_size)


def leaves_the_last_row(out, k_cache, slot_indices, block_size):
    dequantize_and_gather_k_cache_sparse(out[:-1], k_cache, slot_indices[:-1], block_size)


def writes_padding(out, k_cache, slot_indices, block_size):
    out.copy_(rows_of(k_cache, slot_indices.long().clamp(min=0), block_size))


def takes_pages_as_dense(out, k_cache, slot_indices, block_size):
    dense = k_cache.as_strided(k_cache.shape, (block_size * 584, 584, 1))
    dequantize_and_gather_k_cache_sparse(out, dense, slot_indices, block_size)


def drops_a_bit(out, k_cache, slot_indices, block_size):
    dequantize_and_gather_k_cache_sparse(out, k_cache, slot_indices, block_size)
    out.copy_((out.view(torch.int16) & -2).view(torch.bfloat16))


def asks_whether_there_is_padding(out, k_cache, slot_indices, block_size):
    if (slot_indices < 0).any():
        pass
    dequantize_and_gather_k_cache_sparse(out, k_cache, slot_indices, block_size)


@pytest.mark.parametrize(
    ("name", "call", "kind"),
    [
        ("reads", adds_the_next_token, "reads-unreferenced-token"),
        ("writes", leaves_the_last_row, "leaves-output-unwritten"),
        ("indices", writes_padding, "wrong-answer"),
        ("addresses", takes_pages_as_dense, "wrong-address"),
        ("precision", drops_a_bit, "wrong-answer"),
        ("capture", asks_whether_there_is_padding, "host-sync"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_fault_of_each_kind_is_found(name, call, kind):
    """Planted beside the reference."""
    finding = found(name, call)
    assert Verdict.FAIL is finding.verdict, finding.reason
    assert kind in {hit.kind for hit in finding.hits}


GROWS = """
import torch


def gather(out, k_cache, slot_indices, block_size):
    torch.empty(k_cache.shape[0], dtype=torch.uint8, device=out.device)
    out.zero_()


def lean(out, k_cache, slot_indices, block_size):
    torch.empty(slot_indices.shape[0], dtype=torch.uint8, device=out.device)
    out.zero_()
"""


@pytest.mark.parametrize(
    ("name", "code", "law"), [("gather", 1, "num_blocks"), ("lean", 0, "num_slots")]
)
def test_a_byte_for_each_block_breaks_its_promise_and_one_for_each_slot_does_not(
    suite, tmp_path, name, code, law
):
    """`check` sees from the parameters which workload it is."""
    (tmp_path / "s.py").write_text(GROWS, encoding="utf-8")
    done = suite("check", f"s.py:{name}")
    assert code == done.returncode, done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith(f"s.py:{name}"))
    assert law in row.split()
