"""A prefill's chunk as a workload: the union keeps its promise, whole prefixes do not."""

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
from oom_suite.subjects import builtin_names, parse
from oom_suite.workloads.sparse_mla.builtins.dense_staging import dense_staging
from oom_suite.workloads.sparse_mla.builtins.rows import Fp8Rows
from oom_suite.workloads.sparse_mla.kernels.prefill import union_staging
from oom_suite.workloads.sparse_mla.prefill.step import ChunkOptions, distinct, oracle, small

DETECTORS = {one.name: one for one in (Reads, Writes, BadIndices, Addresses, Precision, Capture)}


def found(name, call):
    """The finding of one detector on the CPU."""
    known = workload("prefill-gather")
    target = Target(call, Path(__file__).parent, known, torch.device("cpu"))
    return find(DETECTORS[name](), target)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_union_passes_every_detector(name):
    """In torch, which is what a CPU takes; the twin of the faults below."""
    finding = found(name, union_staging)
    assert (Verdict.PASS, ()) == (finding.verdict, finding.hits), finding.reason


def adds_a_block_of_nobody(k_cache, output, **step):
    union_staging(k_cache=k_cache, output=output, **step)
    pool = Fp8Rows.of_pool(k_cache, 448, 64, torch.float8_e4m3fn)
    named = set(step["block_table"].flatten().tolist())
    free = next(block for block in range(len(k_cache)) if block not in named)
    output += 0.0 * pool.at(torch.tensor([free])).decode(torch.bfloat16).sum()


def leaves_the_last_query(attend, **step):
    def attended(kv, indices, lens, output):
        attend(kv, indices[:-1], lens[:-1], output[:-1])

    union_staging(attend=attended, **step)


def takes_padding_for_the_first_entry(topk_indices, **step):
    union_staging(topk_indices=topk_indices.clamp(min=0), **step)


def takes_pages_as_dense(k_cache, **step):
    dense = k_cache.as_strided(k_cache.shape, (k_cache.shape[1] * 584, 584, 1))
    union_staging(k_cache=dense, **step)


def drops_a_bit(attend, **step):
    def attended(kv, *rest):
        attend((kv.view(torch.int16) & -2).view(torch.bfloat16), *rest)

    union_staging(attend=attended, **step)


def asks_how_many_there_are(max_union, **step):
    wanted = int((step["topk_indices"] >= 0).sum())
    union_staging(max_union=min(max_union, wanted), **step)


@pytest.mark.parametrize(
    ("name", "call", "kind"),
    [
        ("reads", adds_a_block_of_nobody, "reads-unreferenced-block"),
        ("writes", leaves_the_last_query, "leaves-output-unwritten"),
        ("indices", takes_padding_for_the_first_entry, "wrong-answer"),
        ("addresses", takes_pages_as_dense, "wrong-address"),
        ("precision", drops_a_bit, "wrong-answer"),
        ("capture", asks_how_many_there_are, "host-sync"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_fault_of_each_kind_is_found(name, call, kind):
    """Planted beside the union."""
    finding = found(name, call)
    assert Verdict.FAIL is finding.verdict, finding.reason
    assert kind in {hit.kind for hit in finding.hits}


@pytest.mark.parametrize("name", ["indices", "precision"])
def test_whole_prefixes_find_the_same_rows(name):
    """What they take is all that is wrong with them."""
    finding = found(name, dense_staging)
    assert (Verdict.PASS, ()) == (finding.verdict, finding.hits), finding.reason


def test_whole_prefixes_fail_by_the_prefix_and_the_union_passes(suite):
    """The line that takes them is blamed, with a KiB an entry of four tokens."""
    union = "oom_suite.workloads.sparse_mla.kernels.prefill:union_staging"
    done = suite("check", union, "dense_staging")
    assert 0 == done.returncode, done.stdout
    assert "peak grows with prefix_len (256 bytes per token)" in done.stdout
    assert "builtins/dense_staging.py" in done.stdout
    assert "1 passed, 1 failed as expected" in done.stdout


FLAGS = """
from oom_suite.workloads.sparse_mla.kernels.prefill import union_staging


def flags(**step):
    taken = step["k_cache"].new_empty(step["max_compressed_len"] // 8)
    union_staging(**step)
"""


def test_a_bit_for_each_entry_breaks_the_promise(suite, tmp_path):
    """It is the least that memory of its own for a prefix could be."""
    (tmp_path / "s.py").write_text(FLAGS, encoding="utf-8")
    done = suite("check", "s.py:flags", "--workload", "prefill-gather")
    assert 1 == done.returncode, done.stdout
    assert "peak grows with prefix_len (" in done.stdout


@pytest.mark.parametrize(
    ("changes", "settled"),
    [
        ({"union_rows": 10**6}, {"union_rows": (131_072 + 2048) // 4}),
        ({"num_queries": 64, "union_rows": 10**6, "topk": 128}, {"union_rows": 64 * 128}),
        ({"prefix_len": 1, "num_queries": 2}, {"prefix_len": 128, "union_rows": 130 // 4}),
        ({"num_blocks": 2**31 // 64}, None),
    ],
    ids=["entries there are", "entries named", "prefix", "slots"],
)
def test_sizes_settle_at_what_can_be_named(changes, settled):
    """Distinct entries are at most those named and those there; a prefix has a window."""
    known = workload("prefill-gather")
    sizes = {**known.scenario().sizes, **changes}
    assert (None if settled is None else {**sizes, **settled}) == known.settle(sizes)


def test_a_step_that_is_built_names_as_many_entries_as_it_says():
    """Of each request, and all of them are there."""
    from oom_suite.workloads.sparse_mla.prefill.step import build

    known = workload("prefill-gather")
    sizes = {**known.scenario("small").sizes, "num_requests": 2, "union_rows": 100}
    step = build(known.resize(sizes, {"topk": 128}), "cpu")
    assert 200 == len(distinct(step)) == step["max_union"]


def test_the_oracle_is_no_staging():
    """A query's entries, then its window, by hand: the second of one request's two queries."""
    step = small(ChunkOptions(seq_lens=(9,), query_lens=(2,), topk=3, named=(1, 0, 1), window=4))
    expected = oracle(step)
    # Eight tokens came before, so two entries are there; tokens 5 to 8 are its window.
    keys = {name: torch.tensor([]) for name in ("k_cache", "swa_k_cache")}
    for name in keys:
        rows = Fp8Rows.of_pool(step[name], 448, 64, torch.float8_e4m3fn)
        keys[name] = rows.decode(torch.bfloat16).double()
    table, swa_table = step["block_table"][0], step["swa_block_table"][0]
    entries = [keys["k_cache"][table[0], entry] for entry in (1, 0)]
    window = [keys["swa_k_cache"][swa_table[token // 4], token % 4] for token in (5, 6, 7, 8)]
    assert torch.equal(torch.stack(entries + window), expected[1, :6])
    assert not expected[1, 6:].any()


def test_whole_prefixes_are_a_subject_only_where_they_are_named():
    """Without a subject the decode paths are judged, for which they are no code."""
    assert "dense_staging" not in builtin_names()
    assert "built-in" == parse("dense_staging").family
